// The other half of pipeline_json.h: from ids back to text, and what stands around a text.
#include <nlohmann/json.hpp>

#include "model/tokenizer/json_steps.h"
#include "model/tokenizer/pipeline_json.h"

namespace npumoe {
namespace {

// --- decoder ----------------------------------------------------------------------------------

constexpr char kByteLevelDecoder[] = "ByteLevel, which belongs to this pre-tokenizer";
constexpr char kSpellingsDecoder[] =
    "a Sequence of Replace, ByteFallback, Fuse and Strip in this order, which belongs to this "
    "pre-tokenizer";

// How far the sequence has come: each part may only stand behind those before it.
enum class DecoderPart { kReplace, kByteFallback, kFuse, kStrip };

Status ReadStripDecoder(const JsonObject& step, DecoderSpec* decoder) {
  // More would have to be held back by a stream for ever.
  constexpr int64_t kMaxStripped = 16;
  NPUMOE_ASSIGN_OR_RETURN(decoder->strip_content, OneCharacter(step, "content"));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t start, step.Int("start", 0, kMaxStripped, 0));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t stop, step.Int("stop", 0, kMaxStripped, 0));
  if (stop != 0) return RefuseField(step, "stop", std::to_string(stop), "0");
  decoder->strip_start = static_cast<int>(start);
  return OkStatus();
}

Status ReadDecoderStep(const JsonObject& step, DecoderPart* part, DecoderSpec* decoder) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, StepType(step));
  const DecoderPart last = *part;
  if (type == "Replace") {
    NPUMOE_ASSIGN_OR_RETURN(ReplaceNormalizer replace, ReadReplaceStep(step));
    if (replace.content.size() > replace.pattern.size()) {
      return RefuseField(step, "content", "one longer than the pattern", "shorter ones");
    }
    decoder->replacements.push_back(std::move(replace));
    *part = DecoderPart::kReplace;
  } else if (type == "ByteFallback") {
    decoder->byte_fallback = true;
    *part = DecoderPart::kByteFallback;
  } else if (type == "Fuse") {
    *part = DecoderPart::kFuse;
  } else if (type == "Strip" && last == DecoderPart::kFuse) {
    NPUMOE_RETURN_IF_ERROR(ReadStripDecoder(step, decoder));
    *part = DecoderPart::kStrip;
  } else {
    return RefuseField(step, "type", "decoder '" + type + "' here", kSpellingsDecoder);
  }
  if (*part < last) {
    return RefuseField(step, "type", "decoder '" + type + "' here", kSpellingsDecoder);
  }
  return OkStatus();
}

// --- post-processor ---------------------------------------------------------------------------

// Most special tokens on one side of a text, chosen: published tokenizers have one.
constexpr size_t kMaxFrameIds = 16;

// The ids of `special_tokens`[name].
Result<std::vector<int32_t>> IdsOfSpecial(const JsonObject& processor, const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject all, processor.Object("special_tokens"));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject token, all.Object(name));
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<int64_t> ids, token.Ints("ids", 0, kMaxTokenId));
  return std::vector<int32_t>(ids.begin(), ids.end());
}

// "single": special tokens, the text (Sequence A), special tokens.
Status ReadTemplate(const JsonObject& processor, TokenizerSpec* spec) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* single, processor.Array("single"));
  bool is_behind = false;
  for (const Json& json : *single) {
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject item,
                            JsonObject::From(json, processor.name() + ": single"));
    if (item.Has("Sequence")) {
      if (is_behind) return RefuseField(processor, "single", "the text twice", "once");
      is_behind = true;
      continue;
    }
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject token, item.Object("SpecialToken"));
    NPUMOE_ASSIGN_OR_RETURN(const std::string name, token.String("id"));
    NPUMOE_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, IdsOfSpecial(processor, name));
    std::vector<int32_t>& side = is_behind ? spec->suffix_ids : spec->prefix_ids;
    if (side.size() + ids.size() > kMaxFrameIds) {
      return RefuseField(processor, "single", "so many special tokens",
                         "up to " + std::to_string(kMaxFrameIds) + " before and behind the text");
    }
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (!is_behind) return RefuseField(processor, "single", "a template without the text", "with it");
  return OkStatus();
}

}  // namespace

Status ReadDecoder(const JsonObject& root, TokenizerSpec* spec) {
  const bool wants_bytes = spec->bpe.symbols == BpeSymbols::kBytes;
  const std::string supported = wants_bytes ? kByteLevelDecoder : kSpellingsDecoder;
  if (!root.Has("decoder")) return RefuseField(root, "decoder", "null", supported);
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, root.Object("decoder"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, StepType(object));
  if (wants_bytes != (type == "ByteLevel")) {
    return RefuseField(root, "decoder", "'" + type + "'", supported);
  }
  if (wants_bytes) return OkStatus();
  spec->decoder.kind = DecoderSpec::Kind::kSpellings;
  DecoderPart part = DecoderPart::kReplace;
  return ForEachStep(object, "decoders", [&](const JsonObject& step) {
    return ReadDecoderStep(step, &part, &spec->decoder);
  });
}

Status ReadPostProcessor(const JsonObject& root, TokenizerSpec* spec) {
  if (!root.Has("post_processor")) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, root.Object("post_processor"));
  return ForEachStep(object, "processors", [&](const JsonObject& step) -> Status {
    NPUMOE_ASSIGN_OR_RETURN(const std::string type, StepType(step));
    if (type == "ByteLevel") return OkStatus();  // it moves offsets only
    if (type == "TemplateProcessing") return ReadTemplate(step, spec);
    return RefuseField(root, "post_processor", "'" + type + "'",
                       "ByteLevel, TemplateProcessing, a Sequence of them, or null");
  });
}

}  // namespace npumoe
