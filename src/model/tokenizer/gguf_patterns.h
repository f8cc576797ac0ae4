// The patterns that `tokenizer.ggml.pre` names, as pre-tokenizer steps.
#pragma once

#include <string_view>
#include <vector>

#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

struct GgufPattern {
  std::vector<std::string_view> names;
  std::vector<PreTokenizerStep> steps;
  bool composes = false;        // the models' own tokenizers normalize to NFC
  bool ignores_merges = false;  // a piece that is a token is that token
  bool adds_bos = false;        // where the file does not say
};

// Compared in this order.
std::vector<GgufPattern> GgufPatterns();

}  // namespace npumoe
