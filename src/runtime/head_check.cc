// CheckHeadRow (dense_checks.h).
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/dtype.h"
#include "graph/head_program.h"
#include "graph/weights/materialised.h"
#include "kernels/gemm/gemm.h"
#include "plan/lowering.h"
#include "runtime/dense_checks.h"

namespace npumoe {
namespace {

constexpr int kCheckedEntries = 32;  // of a row that is checked; chosen

// The logit of one entry, whose row of the head's matrix is `weights` [1, hidden].
float LogitOnCpu(const LayerContext& context, ConstMatrix normed, const TensorView& weights,
                 int64_t entry) {
  const std::span<const float> bias = context.vectors.lm_head_bias();
  float logit = 0;
  MatMul(normed, weights, bias.empty() ? bias : bias.subspan(static_cast<size_t>(entry), 1),
         {&logit, 1, 1, 1}, context.pool);
  return logit;
}

TensorView RowOf(const TensorView& matrix, int64_t row) {
  const int64_t columns = matrix.shape[1];
  return {matrix.dtype, Shape{1, columns}, matrix.data + BytesOf(matrix.dtype, row * columns)};
}

std::vector<float> ExpectedOfModel(const LayerContext& context, ConstMatrix normed,
                                   const std::vector<int64_t>& entries) {
  std::vector<float> expected;
  for (const int64_t entry : entries) {
    const TensorView row = RowOf(context.model.weights.lm_head, entry);
    expected.push_back(LogitOnCpu(context, normed, row, entry));
  }
  return expected;
}

// With the program's weights, one slice of the vocabulary after another.
Result<std::vector<float>> ExpectedOfProgram(const LayerContext& context, const Plan& plan,
                                             ConstMatrix normed,
                                             const std::vector<int64_t>& entries) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<Graph> functions,
                          LowerHead(plan, context.config, context.model.weights));
  const int64_t hidden = context.config.hidden_size;
  const std::vector<HeadSlice> slices =
      HeadSlices({hidden, context.config.vocab_size, 1, plan.head.slice_entries});
  std::vector<float> expected(entries.size());
  for (size_t i = 0; i < slices.size(); ++i) {
    NPUMOE_ASSIGN_OR_RETURN(const std::vector<uint16_t> fp16,
                            HalvesOf(functions.front(), "w_head_" + std::to_string(i)));
    const TensorView matrix{DType::kF16, Shape{slices[i].entries, hidden},
                            reinterpret_cast<const std::byte*>(fp16.data())};
    for (size_t e = 0; e < entries.size(); ++e) {
      const int64_t row = entries[e] - slices[i].first;
      if (row < 0 || row >= slices[i].entries) continue;
      expected[e] = LogitOnCpu(context, normed, RowOf(matrix, row), entries[e]);
    }
  }
  return expected;
}

RowsChecked ErrorOf(const float* logits, const std::vector<int64_t>& entries,
                    const std::vector<float>& expected) {
  double largest = 0, difference = 0, squares = 0, squared_differences = 0;
  for (size_t e = 0; e < entries.size(); ++e) {
    const double wanted = expected[e];
    const double off = std::abs(logits[entries[e]] - wanted);
    largest = std::max(largest, std::abs(wanted));
    difference = std::max(difference, off);
    squares += wanted * wanted;
    squared_differences += off * off;
  }
  if (largest == 0) return {difference, std::sqrt(squared_differences)};
  return {difference / largest, std::sqrt(squared_differences / squares)};
}

RowVerdict VerdictOn(WeightFormat format, const RowsChecked& error) {
  return {error, format == WeightFormat::kF16 ? error.relative <= kLogitErrorLimit
                                              : IsRounding(format, error)};
}

}  // namespace

RowVerdict CheckHeadRow(const LayerContext& context, const Plan& plan, ConstMatrix normed,
                        const float* logits, std::mt19937_64& random) {
  std::vector<int64_t> entries;
  for (int i = 0; i < kCheckedEntries; ++i) {
    entries.push_back(
        static_cast<int64_t>(random() % static_cast<uint64_t>(context.config.vocab_size)));
  }
  const WeightFormat format = plan.dense_weight_format;
  const RowVerdict first =
      VerdictOn(format, ErrorOf(logits, entries, ExpectedOfModel(context, normed, entries)));
  if (first.is_right || format == WeightFormat::kF16) return first;
  const auto expected = ExpectedOfProgram(context, plan, normed, entries);
  if (!expected.ok()) return first;
  return VerdictOn(WeightFormat::kF16, ErrorOf(logits, entries, *expected));
}

}  // namespace npumoe
