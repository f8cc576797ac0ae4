// CheckAttentionRow (dense_checks.h).
#include <algorithm>
#include <vector>

#include "runtime/attention.h"
#include "runtime/dense_checks.h"
#include "runtime/rounded_attention.h"
#include "runtime/row_error.h"

namespace npumoe {
namespace {

struct AttentionError {
  RowsChecked cached;  // the worst part
  RowsChecked attended;
};

RowsChecked ErrorOf(const OutputRow& row, const std::vector<float>& expected) {
  RowError error;
  error.Add(row, expected);
  return {error.Relative(), error.RootMeanSquare()};
}

RowsChecked Worse(const RowsChecked& a, const RowsChecked& b) {
  return {std::max(a.relative, b.relative), std::max(a.root_mean_square, b.root_mean_square)};
}

bool IsRoundingOf(WeightFormat format, const AttentionError& error) {
  if (format != WeightFormat::kF16) {
    return IsRounding(format, error.cached) && IsRounding(format, error.attended);
  }
  return error.cached.relative <= kKeyErrorLimit && error.attended.relative <= kAttendedErrorLimit;
}

RowVerdict VerdictOn(WeightFormat format, const AttentionError& error) {
  return {Worse(error.cached, error.attended), IsRoundingOf(format, error)};
}

}  // namespace

RowVerdict CheckAttentionRow(LayerContext& context, const Plan& plan, int layer, ChunkRows& rows,
                             int64_t row, const AttentionFunction& function,
                             std::span<DeviceBuffer* const> outputs) {
  const AttentionWeights& of_model =
      context.model.weights.layers[static_cast<size_t>(layer)].attention;
  const auto error_with = [&](const AttentionWeights& weights) {
    const AttentionRow expected = ComputeAttentionRow(context, layer, rows, row, weights);
    AttentionError error;
    for (size_t part = 0; part < expected.cached.size(); ++part) {
      error.cached = Worse(error.cached,
                           ErrorOf(function.NewCached(part, row, outputs), expected.cached[part]));
    }
    error.attended = ErrorOf(function.Attended(row, outputs), expected.attended);
    return error;
  };
  const RowVerdict first = VerdictOn(plan.dense_weight_format, error_with(of_model));
  if (first.is_right || plan.dense_weight_format == WeightFormat::kF16) return first;
  const auto rounded = RoundedAttention::Of(plan, context.config, of_model, layer);
  return rounded.ok() ? VerdictOn(WeightFormat::kF16, error_with(rounded->weights())) : first;
}

}  // namespace npumoe
