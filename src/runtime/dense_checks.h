// Spot checks of attention and head launches: one row that the CPU computes, too. In a weight
// format other than fp16 in two looks, as experts (spot_check.h): with the model's weights and the
// format's limit, and where a row is beyond it, with the program's own weights and the limits of
// fp16. A projection rounds one matrix where an expert rounds three in a row, so the experts'
// limits hold for it with more room; what softmax makes of rounded logits has no such limit, and is
// what the second look is for.
#pragma once

#include <cstdint>
#include <random>
#include <span>

#include "plan/plan.h"
#include "runtime/attention_function.h"
#include "runtime/layer.h"
#include "runtime/spot_check.h"

namespace npumoe {

// Largest error of a row that is taken for rounding to fp16, of the row's largest value. Keys and
// values, or latents, are one product of values rounded by up to 2^-11 each: as for experts in fp16
// (spot_check.cc). What is attended also passes through logits in fp16: one of size 16 is off by up
// to 2^-8, which moves its share by 0.4%; ten times that.
inline constexpr double kKeyErrorLimit = 1e-2;
inline constexpr double kAttendedErrorLimit = 4e-2;
// Of a logit, of the largest of those checked with it: inputs, weights and result are rounded by up
// to 2^-11 each, and what adds up to a small logit by more of it; twenty roundings.
inline constexpr double kLogitErrorLimit = 1e-2;

// `error` is that of the look that decided.
struct RowVerdict {
  RowsChecked error;
  bool is_right = false;
};

// Row `row` of a chunk whose keys and values, or latents, are in the cache.
RowVerdict CheckAttentionRow(LayerContext& context, const Plan& plan, int layer, ChunkRows& rows,
                             int64_t row, const AttentionFunction& function,
                             std::span<DeviceBuffer* const> outputs);

// Some entries, drawn at random, of one row of logits [vocabulary]; `normed` [1, hidden].
RowVerdict CheckHeadRow(const LayerContext& context, const Plan& plan, ConstMatrix normed,
                        const float* logits, std::mt19937_64& random);

}  // namespace npumoe
