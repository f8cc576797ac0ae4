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

struct ControlledText {
  std::string text;
  std::vector<TextRange> control;  // ascending, disjoint
};

class NormalizerPipeline {
 public:
  explicit NormalizerPipeline(std::vector<NormalizerStep> steps) : steps_(std::move(steps)) {}

  // False: Run would give the text back for sure; no copy is needed.
  bool MayChange(std::string_view text) const;
  // Fails where steps would make more than kMaxNormalizedBytes of the text.
  Result<ControlledText> Run(ControlledText text) const;

 private:
  std::vector<NormalizerStep> steps_;
};

// `text` with every `pattern` (not empty) replaced by `content`, from left to right.
std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content);

}  // namespace npumoe
