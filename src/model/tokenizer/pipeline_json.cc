#include "model/tokenizer/pipeline_json.h"

#include <nlohmann/json.hpp>

#include "model/tokenizer/json_steps.h"

namespace npumoe {
namespace {

constexpr char kNormalizers[] = "NFC, NFKC, Prepend, Replace, Strip, a Sequence of them, or null";
constexpr char kPreTokenizers[] =
    "Split, Digits and ByteLevel in a Sequence, ByteLevel or Metaspace alone, or null";

// --- normalizer -------------------------------------------------------------------------------

Result<NormalizerStep> ReadNormalizerStep(const JsonObject& step) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, StepType(step));
  if (type == "NFC") return NormalizerStep(NfcNormalizer{});
  if (type == "NFKC") return NormalizerStep(NfkcNormalizer{});
  if (type == "Prepend") {
    NPUMOE_ASSIGN_OR_RETURN(std::string text, InsertedText(step, "prepend"));
    return NormalizerStep(PrependNormalizer{std::move(text)});
  }
  if (type == "Replace") {
    NPUMOE_ASSIGN_OR_RETURN(ReplaceNormalizer replace, ReadReplaceStep(step));
    return NormalizerStep(std::move(replace));
  }
  if (type == "Strip") {
    StripNormalizer strip;
    NPUMOE_ASSIGN_OR_RETURN(strip.left, step.Bool("strip_left", true));
    NPUMOE_ASSIGN_OR_RETURN(strip.right, step.Bool("strip_right", true));
    return NormalizerStep(strip);
  }
  return RefuseField(step, "type", "normalizer '" + type + "'", kNormalizers);
}

// --- pre-tokenizer ----------------------------------------------------------------------------

Result<PreTokenizerStep> ReadSplit(const JsonObject& step) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string behavior, step.String("behavior"));
  if (behavior != "Isolated") {
    return RefuseField(step, "behavior", "'" + behavior + "'", "'Isolated'");
  }
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject pattern, step.Object("pattern"));
  // `invert` swaps matches and what lies between; both are pieces, so it changes nothing.
  SplitStep split;
  split.kind = pattern.Has("Regex") ? SplitStep::Kind::kRegex : SplitStep::Kind::kLiteral;
  const bool is_regex = split.kind == SplitStep::Kind::kRegex;
  NPUMOE_ASSIGN_OR_RETURN(split.pattern, pattern.String(is_regex ? "Regex" : "String"));
  return PreTokenizerStep(std::move(split));
}

// Digits is a split at numbers, one by one or whole.
Result<PreTokenizerStep> ReadDigits(const JsonObject& step) {
  NPUMOE_ASSIGN_OR_RETURN(const bool one_by_one, step.Bool("individual_digits", false));
  return PreTokenizerStep(SplitStep{SplitStep::Kind::kRegex, one_by_one ? "\\p{N}" : "\\p{N}+"});
}

// Older files have `add_prefix_space` instead of `prepend_scheme`, and no `split`.
Result<PreTokenizerStep> ReadMetaspace(const JsonObject& step) {
  MetaspaceStep metaspace;
  NPUMOE_ASSIGN_OR_RETURN(metaspace.replacement, OneCharacter(step, "replacement"));
  NPUMOE_ASSIGN_OR_RETURN(const bool adds_space, step.Bool("add_prefix_space", true));
  NPUMOE_ASSIGN_OR_RETURN(const std::string scheme,
                          step.String("prepend_scheme", adds_space ? "always" : "never"));
  if (scheme == "always") {
    metaspace.prepend = MetaspaceStep::Prepend::kAlways;
  } else if (scheme == "first") {
    metaspace.prepend = MetaspaceStep::Prepend::kFirst;
  } else if (scheme == "never") {
    metaspace.prepend = MetaspaceStep::Prepend::kNever;
  } else {
    return RefuseField(step, "prepend_scheme", "'" + scheme + "'", "always, first and never");
  }
  NPUMOE_ASSIGN_OR_RETURN(metaspace.split, step.Bool("split", true));
  return PreTokenizerStep(std::move(metaspace));
}

Result<PreTokenizerStep> ReadPreTokenizerStep(const JsonObject& step) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, StepType(step));
  if (type == "Split") return ReadSplit(step);
  if (type == "Digits") return ReadDigits(step);
  if (type == "Metaspace") return ReadMetaspace(step);
  if (type != "ByteLevel") {
    return RefuseField(step, "type", "pre-tokenizer '" + type + "'", kPreTokenizers);
  }
  ByteLevelStep byte_level;
  NPUMOE_ASSIGN_OR_RETURN(byte_level.add_prefix_space, step.Bool("add_prefix_space", true));
  NPUMOE_ASSIGN_OR_RETURN(byte_level.use_regex, step.Bool("use_regex", true));
  return PreTokenizerStep(byte_level);
}

// Only the last step may be ByteLevel: behind it the text would be spelled in the alphabet.
Status CheckOrder(const JsonObject& object, const std::vector<PreTokenizerStep>& steps) {
  if (steps.empty()) {
    return RefuseField(object, "pretokenizers", "an empty list", "one with ByteLevel");
  }
  if (steps.size() == 1 && std::holds_alternative<MetaspaceStep>(steps[0])) return OkStatus();
  for (size_t i = 0; i < steps.size(); ++i) {
    const bool is_last = i + 1 == steps.size();
    if (std::holds_alternative<ByteLevelStep>(steps[i]) != is_last ||
        std::holds_alternative<MetaspaceStep>(steps[i])) {
      return RefuseField(object, "pretokenizers", "this order",
                         "any Split steps and then one ByteLevel, or Metaspace alone");
    }
  }
  return OkStatus();
}

}  // namespace

Status ReadNormalizer(const JsonObject& root, TokenizerSpec* spec) {
  if (!root.Has("normalizer")) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, root.Object("normalizer"));
  return ForEachStep(object, "normalizers", [&](const JsonObject& step) -> Status {
    NPUMOE_ASSIGN_OR_RETURN(NormalizerStep read, ReadNormalizerStep(step));
    spec->normalizers.push_back(std::move(read));
    return OkStatus();
  });
}

Status ReadPreTokenizer(const JsonObject& root, TokenizerSpec* spec) {
  spec->bpe.symbols = BpeSymbols::kCharacters;
  if (!root.Has("pre_tokenizer")) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, root.Object("pre_tokenizer"));
  NPUMOE_RETURN_IF_ERROR(
      ForEachStep(object, "pretokenizers", [&](const JsonObject& step) -> Status {
        NPUMOE_ASSIGN_OR_RETURN(PreTokenizerStep read, ReadPreTokenizerStep(step));
        spec->pre_tokenizers.push_back(std::move(read));
        return OkStatus();
      }));
  NPUMOE_RETURN_IF_ERROR(CheckOrder(object, spec->pre_tokenizers));
  if (std::holds_alternative<ByteLevelStep>(spec->pre_tokenizers.back())) {
    spec->bpe.symbols = BpeSymbols::kBytes;
  }
  return OkStatus();
}

}  // namespace npumoe
