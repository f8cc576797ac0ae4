#include "model/tokenizer/tokenizer_json.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace npumoe {
namespace {

// A field whose value names something that this build does not do.
Status Refuse(const JsonObject& object, const std::string& field, const std::string& found,
              const std::string& supported) {
  return Unsupported(object.name() + ": field '" + field + "': " + found +
                     " is not supported, only " + supported);
}

Result<std::string> TypeOf(const JsonObject& step) { return step.String("type"); }

// --- normalizer -------------------------------------------------------------------------------

Status ReadNormalizer(const JsonObject& step, TokenizerSpec* spec) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, TypeOf(step));
  if (type == "NFC") {
    spec->normalizers.push_back(NfcNormalizer{});
    return OkStatus();
  }
  if (type != "Sequence") return Refuse(step, "type", "normalizer '" + type + "'", "NFC or null");
  NPUMOE_ASSIGN_OR_RETURN(const Json* steps, step.Array("normalizers"));
  for (const Json& json : *steps) {
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject inner, JsonObject::From(json, step.name()));
    NPUMOE_ASSIGN_OR_RETURN(const std::string inner_type, TypeOf(inner));
    if (inner_type != "NFC") {
      return Refuse(inner, "type", "normalizer '" + inner_type + "'", "NFC or null");
    }
    spec->normalizers.push_back(NfcNormalizer{});
  }
  return OkStatus();
}

// --- pre-tokenizer ----------------------------------------------------------------------------

Result<PreTokenizerStep> ReadSplit(const JsonObject& step) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string behavior, step.String("behavior"));
  if (behavior != "Isolated") return Refuse(step, "behavior", "'" + behavior + "'", "'Isolated'");
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject pattern, step.Object("pattern"));
  // `invert` swaps matches and what lies between; both are pieces, so it changes nothing.
  SplitStep split;
  split.kind = pattern.Has("Regex") ? SplitStep::Kind::kRegex : SplitStep::Kind::kLiteral;
  const bool is_regex = split.kind == SplitStep::Kind::kRegex;
  NPUMOE_ASSIGN_OR_RETURN(split.pattern, pattern.String(is_regex ? "Regex" : "String"));
  return PreTokenizerStep(std::move(split));
}

Result<PreTokenizerStep> ReadPreTokenizerStep(const JsonObject& step) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, TypeOf(step));
  if (type == "Split") return ReadSplit(step);
  if (type != "ByteLevel") {
    return Refuse(step, "type", "pre-tokenizer '" + type + "'",
                  "Split, ByteLevel and a Sequence of them");
  }
  ByteLevelStep byte_level;
  NPUMOE_ASSIGN_OR_RETURN(byte_level.add_prefix_space, step.Bool("add_prefix_space", true));
  NPUMOE_ASSIGN_OR_RETURN(byte_level.use_regex, step.Bool("use_regex", true));
  return PreTokenizerStep(byte_level);
}

// Only the last step may be ByteLevel: behind it the text would be spelled in the alphabet.
Status CheckOrder(const JsonObject& object, const std::vector<PreTokenizerStep>& steps) {
  for (size_t i = 0; i < steps.size(); ++i) {
    const bool is_last = i + 1 == steps.size();
    if (std::holds_alternative<ByteLevelStep>(steps[i]) != is_last) {
      return Refuse(object, "pretokenizers", "this order",
                    "any Split steps and then one ByteLevel");
    }
  }
  if (steps.empty()) return Refuse(object, "pretokenizers", "an empty list", "one with ByteLevel");
  return OkStatus();
}

Status ReadPreTokenizer(const JsonObject& root, TokenizerSpec* spec) {
  if (!root.Has("pre_tokenizer")) {
    return Refuse(root, "pre_tokenizer", "null",
                  "ByteLevel, alone or at the end of a Sequence (byte-level BPE)");
  }
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, root.Object("pre_tokenizer"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, TypeOf(object));
  if (type == "Sequence") {
    NPUMOE_ASSIGN_OR_RETURN(const Json* steps, object.Array("pretokenizers"));
    for (const Json& json : *steps) {
      NPUMOE_ASSIGN_OR_RETURN(const JsonObject step, JsonObject::From(json, object.name()));
      NPUMOE_ASSIGN_OR_RETURN(PreTokenizerStep read, ReadPreTokenizerStep(step));
      spec->pre_tokenizers.push_back(std::move(read));
    }
  } else {
    NPUMOE_ASSIGN_OR_RETURN(PreTokenizerStep read, ReadPreTokenizerStep(object));
    spec->pre_tokenizers.push_back(std::move(read));
  }
  return CheckOrder(object, spec->pre_tokenizers);
}

// --- what must be ByteLevel, or absent ----------------------------------------------------------

enum class Presence { kRequired, kOptional };

Status RequireByteLevel(const JsonObject& root, const std::string& field, Presence presence) {
  const bool is_optional = presence == Presence::kOptional;
  const std::string supported = is_optional ? "ByteLevel or null" : "ByteLevel";
  if (!root.Has(field)) {
    return is_optional ? OkStatus() : Refuse(root, field, "null", supported);
  }
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, root.Object(field));
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, TypeOf(object));
  if (type != "ByteLevel") return Refuse(root, field, "'" + type + "'", supported);
  return OkStatus();
}

// --- model ------------------------------------------------------------------------------------

Status ReadVocabulary(const JsonObject& model, BpeSpec* bpe) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject vocabulary, model.Object("vocab"));
  if (vocabulary.json().empty()) return model.FieldError("vocab", "tokens are needed");
  bpe->vocabulary.reserve(vocabulary.json().size());
  for (const auto& [spelling, id] : vocabulary.json().items()) {
    const bool in_range =
        id.is_number_unsigned() && id.get<uint64_t>() <= static_cast<uint64_t>(kMaxTokenId);
    if (!in_range) {
      return vocabulary.FieldError(spelling,
                                   "an id from 0 to " + std::to_string(kMaxTokenId) + " is needed");
    }
    bpe->vocabulary.emplace_back(spelling, id.get<int32_t>());
  }
  return OkStatus();
}

Status MergeError(const JsonObject& model, size_t index) {
  return InvalidInput(model.name() + ": field 'merges'[" + std::to_string(index) +
                      "]: two tokens are needed, as \"a b\" or [\"a\", \"b\"]");
}

// "a b", the older form; lines that begin with "#version" are no merges.
Status ReadMergeText(const JsonObject& model, const std::string& text, size_t index, BpeSpec* bpe) {
  if (text.starts_with("#version")) return OkStatus();
  const size_t space = text.find(' ');
  if (space == text.npos || text.find(' ', space + 1) != text.npos) {
    return MergeError(model, index);
  }
  bpe->merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  return OkStatus();
}

Status ReadMerges(const JsonObject& model, BpeSpec* bpe) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* merges, model.Array("merges"));
  bpe->merges.reserve(merges->size());
  for (size_t i = 0; i < merges->size(); ++i) {
    const Json& merge = (*merges)[i];
    if (merge.is_string()) {
      NPUMOE_RETURN_IF_ERROR(ReadMergeText(model, merge.get_ref<const std::string&>(), i, bpe));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      bpe->merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      return MergeError(model, i);
    }
  }
  return OkStatus();
}

// Options of the reference's BPE that change ids and that byte-level vocabularies do not use.
Status RefuseModelOptions(const JsonObject& model) {
  NPUMOE_ASSIGN_OR_RETURN(const double dropout, model.Number("dropout", 0.0, 1.0, 0.0));
  if (dropout != 0.0) return Refuse(model, "dropout", "random dropout", "null");
  for (const char* field : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string affix, model.String(field, ""));
    if (!affix.empty()) return Refuse(model, field, "'" + affix + "'", "null");
  }
  return OkStatus();
}

Status ReadModel(const JsonObject& root, BpeSpec* bpe) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject model, root.Object("model"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, model.String("type", "BPE"));
  if (type != "BPE") return Refuse(model, "type", "'" + type + "'", "byte-level BPE ('BPE')");
  NPUMOE_RETURN_IF_ERROR(RefuseModelOptions(model));
  NPUMOE_ASSIGN_OR_RETURN(bpe->ignore_merges, model.Bool("ignore_merges", false));
  NPUMOE_ASSIGN_OR_RETURN(const bool byte_fallback, model.Bool("byte_fallback", false));
  NPUMOE_ASSIGN_OR_RETURN(const bool fuse_unknown, model.Bool("fuse_unk", false));
  NPUMOE_ASSIGN_OR_RETURN(const std::string unknown_token, model.String("unk_token", ""));
  if (byte_fallback) bpe->fallback_field = "byte_fallback";
  if (fuse_unknown) bpe->fallback_field = "fuse_unk";
  if (!unknown_token.empty()) bpe->fallback_field = "unk_token";
  NPUMOE_RETURN_IF_ERROR(ReadVocabulary(model, bpe));
  return ReadMerges(model, bpe);
}

// --- added tokens -----------------------------------------------------------------------------

// Bounds the work of looking for added tokens at each place of a text. Chosen: ten times the
// longest in use.
constexpr size_t kMaxAddedTokenBytes = 1024;

Result<AddedToken> ReadAddedToken(const JsonObject& object) {
  AddedToken token;
  NPUMOE_ASSIGN_OR_RETURN(token.content, object.String("content"));
  if (token.content.empty()) {
    return object.FieldError("content", "at least one character is needed");
  }
  if (token.content.size() > kMaxAddedTokenBytes) {
    return object.FieldError(
        "content", "at most " + std::to_string(kMaxAddedTokenBytes) + " bytes are allowed");
  }
  NPUMOE_ASSIGN_OR_RETURN(const int64_t id, object.Int("id", 0, kMaxTokenId));
  token.id = static_cast<int32_t>(id);
  NPUMOE_ASSIGN_OR_RETURN(token.special, object.Bool("special", false));
  NPUMOE_ASSIGN_OR_RETURN(token.normalized, object.Bool("normalized", !token.special));
  NPUMOE_ASSIGN_OR_RETURN(token.single_word, object.Bool("single_word", false));
  NPUMOE_ASSIGN_OR_RETURN(token.strip_left, object.Bool("lstrip", false));
  NPUMOE_ASSIGN_OR_RETURN(token.strip_right, object.Bool("rstrip", false));
  return token;
}

Status ReadAddedTokens(const JsonObject& root, TokenizerSpec* spec) {
  if (!root.Has("added_tokens")) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, root.Array("added_tokens"));
  for (size_t i = 0; i < list->size(); ++i) {
    const std::string name = root.name() + ": added_tokens[" + std::to_string(i) + "]";
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, JsonObject::From((*list)[i], name));
    NPUMOE_ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(object));
    spec->added_tokens.push_back(std::move(token));
  }
  return OkStatus();
}

}  // namespace

// `truncation` and `padding` shape training batches; they are left out of account here, as
// transformers does: a prompt is never cut or filled.
Result<TokenizerSpec> ParseTokenizerJson(std::string_view text, const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const Json json, ParseJson(text, name));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject root, JsonObject::From(json, name));
  NPUMOE_ASSIGN_OR_RETURN(const std::string version, root.String("version", "1.0"));
  if (version != "1.0") return Refuse(root, "version", "'" + version + "'", "'1.0'");
  TokenizerSpec spec;
  // What kind of tokenizer it is comes first: "SentencePiece is not supported" says more than a
  // complaint about one of its merges.
  if (root.Has("normalizer")) {
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject normalizer, root.Object("normalizer"));
    NPUMOE_RETURN_IF_ERROR(ReadNormalizer(normalizer, &spec));
  }
  NPUMOE_RETURN_IF_ERROR(ReadModel(root, &spec.bpe));
  NPUMOE_RETURN_IF_ERROR(ReadPreTokenizer(root, &spec));
  NPUMOE_RETURN_IF_ERROR(RequireByteLevel(root, "decoder", Presence::kRequired));
  NPUMOE_RETURN_IF_ERROR(RequireByteLevel(root, "post_processor", Presence::kOptional));
  NPUMOE_RETURN_IF_ERROR(ReadAddedTokens(root, &spec));
  return spec;
}

}  // namespace npumoe
