// RopeTables: the rotary frequencies of a model. A LongRoPE model has two sets: a context beyond
// the border uses the long one for all of its tokens.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "model/config.h"

namespace npumoe {

enum class RopeLength : uint8_t { kShort, kLong };

struct RopeTable {
  std::vector<float> inverse_frequencies;  // [rotary dims / 2]
  float scale = 1;                         // of cos and sin
};

class RopeTables {
 public:
  explicit RopeTables(const ModelConfig& config);

  // What a context of so many tokens uses. kShort for all models but those with LongRoPE.
  RopeLength LengthFor(int64_t context_tokens) const {
    return context_tokens > border_tokens_ ? RopeLength::kLong : RopeLength::kShort;
  }
  const RopeTable& Of(RopeLength length) const {
    return length == RopeLength::kLong ? long_ : short_;
  }

 private:
  RopeTable short_;
  RopeTable long_;
  int64_t border_tokens_ = std::numeric_limits<int64_t>::max();
};

}  // namespace npumoe
