// NormalizerPipeline: the normalizer of a tokenizer, step by step, on text in which some ranges
// are control text. Each side of a range's border is changed on its own, so the ranges stay exact.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/text_range.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

// Positions in normalized text are 32 bits wide. Chosen, far above any context.
inline constexpr size_t kMaxNormalizedBytes = size_t{1} << 30;

// How many times longer than the text its normalized form may be, beside a few bytes for what is
// put before it: NFKC's worst character becomes eleven times as long (Unicode), and a space three
// times (SentencePiece). A tokenizer that makes more of a text is broken or hostile.
inline constexpr size_t kMaxGrowth = 33;
inline constexpr size_t kMaxPrependedBytes = 64;

struct ControlledText {
  std::string text;
  std::vector<TextRange> control;  // ascending, disjoint
};

class NormalizerPipeline {
 public:
  // `name`: of the tokenizer; it starts messages that blame it.
  NormalizerPipeline(std::vector<NormalizerStep> steps, std::string name)
      : steps_(std::move(steps)), name_(std::move(name)) {}

  // False: Run would give the text back for sure; no copy is needed.
  bool MayChange(std::string_view text) const;
  // Fails where steps would make more than kMaxGrowth times as much of the text, or more than
  // kMaxNormalizedBytes.
  Result<ControlledText> Run(ControlledText text) const;

 private:
  Status GrewTooMuch(size_t input_bytes, size_t bytes) const;

  std::vector<NormalizerStep> steps_;
  std::string name_;
};

// `text` with every `pattern` (not empty) replaced by `content`, from left to right.
std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content);

}  // namespace npumoe
