#include "model/tokenizer/normalizer_pipeline.h"

#include <algorithm>
#include <functional>

#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/white_space.h"

namespace npumoe {
namespace {

using TextFunction = std::function<std::string(std::string_view)>;

ControlledText ChangeParts(const ControlledText& input, const TextFunction& change) {
  const std::string_view text = input.text;
  ControlledText changed;
  size_t done = 0;
  for (const TextRange& range : input.control) {
    changed.text += change(text.substr(done, range.begin - done));
    const size_t begin = changed.text.size();
    changed.text += change(text.substr(range.begin, range.end - range.begin));
    changed.control.push_back({begin, changed.text.size()});
    done = range.end;
  }
  changed.text += change(text.substr(done));
  return changed;
}

ControlledText Prepended(ControlledText input, std::string_view text) {
  if (input.text.empty()) return input;
  input.text.insert(0, text);
  for (TextRange& range : input.control) {
    range.begin += text.size();
    range.end += text.size();
  }
  return input;
}

ControlledText Stripped(ControlledText input, const StripNormalizer& strip) {
  const std::string_view text = input.text;
  const size_t begin = strip.left ? SkipWhiteSpace(text, 0) : 0;
  const size_t end = strip.right ? SkipWhiteSpaceBack(text, text.size(), begin) : text.size();
  const auto moved = [&](size_t at) { return std::clamp(at, begin, end) - begin; };
  for (TextRange& range : input.control) range = {moved(range.begin), moved(range.end)};
  input.text = input.text.substr(begin, end - begin);
  return input;
}

struct MayStepChange {
  std::string_view text;
  bool operator()(const NfcNormalizer&) const { return MayChangeInNfc(text); }
  bool operator()(const NfkcNormalizer&) const { return MayChangeInNfkc(text); }
  bool operator()(const PrependNormalizer&) const { return !text.empty(); }
  bool operator()(const ReplaceNormalizer& step) const {
    return text.find(step.pattern) != text.npos;
  }
  bool operator()(const StripNormalizer&) const { return !text.empty(); }
};

// What the step makes of the text at most. A character's decomposition has up to 18 characters of
// up to four bytes (U+FDFA), but composed again no text grows to more than eleven times its bytes
// (Unicode's figure for NFKC).
struct LargestSize {
  std::string_view text;
  size_t operator()(const NfcNormalizer&) const { return 3 * text.size(); }
  size_t operator()(const NfkcNormalizer&) const { return 11 * text.size(); }
  size_t operator()(const PrependNormalizer& step) const { return text.size() + step.text.size(); }
  size_t operator()(const ReplaceNormalizer& step) const {
    if (step.content.size() <= step.pattern.size()) return text.size();
    size_t count = 0;
    for (size_t at = text.find(step.pattern); at != text.npos;
         at = text.find(step.pattern, at + step.pattern.size())) {
      ++count;
    }
    return text.size() + count * (step.content.size() - step.pattern.size());
  }
  size_t operator()(const StripNormalizer&) const { return text.size(); }
};

size_t MostBytes(size_t input_bytes) { return kMaxGrowth * input_bytes + kMaxPrependedBytes; }

bool IsUnicodeForm(const NormalizerStep& step) {
  return std::holds_alternative<NfcNormalizer>(step) ||
         std::holds_alternative<NfkcNormalizer>(step);
}

struct RunStep {
  ControlledText input;
  ControlledText operator()(const NfcNormalizer&) { return ChangeParts(input, Nfc); }
  ControlledText operator()(const NfkcNormalizer&) { return ChangeParts(input, Nfkc); }
  ControlledText operator()(const PrependNormalizer& step) {
    return Prepended(std::move(input), step.text);
  }
  ControlledText operator()(const ReplaceNormalizer& step) {
    return ChangeParts(
        input, [&](std::string_view part) { return ReplaceAll(part, step.pattern, step.content); });
  }
  ControlledText operator()(const StripNormalizer& step) {
    return Stripped(std::move(input), step);
  }
};

}  // namespace

bool NormalizerPipeline::MayChange(std::string_view text) const {
  // What one step leaves alone may change behind another step; then that one changes the text.
  return std::ranges::any_of(
      steps_, [&](const NormalizerStep& step) { return std::visit(MayStepChange{text}, step); });
}

Status NormalizerPipeline::GrewTooMuch(size_t input_bytes, size_t bytes) const {
  return InvalidInput(name_ + ": field 'normalizer': it makes " + std::to_string(bytes) +
                      " bytes of a text of " + std::to_string(input_bytes) + ", allowed are " +
                      std::to_string(MostBytes(input_bytes)) +
                      "; use the tokenizer that the model was published with");
}

Result<ControlledText> NormalizerPipeline::Run(ControlledText text) const {
  const size_t input_bytes = text.text.size();
  const size_t most = MostBytes(input_bytes);
  for (const NormalizerStep& step : steps_) {
    if (!std::visit(MayStepChange{text.text}, step)) continue;
    const size_t largest = std::visit(LargestSize{text.text}, step);
    if (largest > kMaxNormalizedBytes) {
      return ResourceExhausted("the text has " + std::to_string(input_bytes) +
                               " bytes, and more than " + std::to_string(kMaxNormalizedBytes) +
                               " when it is normalized; shorten it");
    }
    // Of the Unicode forms only the worst case is known beforehand, which hardly a text is.
    if (largest > most && !IsUnicodeForm(step)) return GrewTooMuch(input_bytes, largest);
    text = std::visit(RunStep{std::move(text)}, step);
    if (text.text.size() > most) return GrewTooMuch(input_bytes, text.text.size());
  }
  return text;
}

std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string replaced;
  replaced.reserve(text.size() + text.size() / 4);  // chosen: room for visible spaces in prose
  for (;;) {
    const size_t at = text.find(pattern);
    replaced += text.substr(0, at);
    if (at == text.npos) return replaced;
    replaced += content;
    text.remove_prefix(at + pattern.size());
  }
}

}  // namespace npumoe
