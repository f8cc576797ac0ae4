#include <algorithm>

#include "base/dtype.h"
#include "kernels/dispatch/dispatch.h"

namespace npumoe {
namespace {

float ChannelOf(const OutputRow& row, int64_t channel) {
  switch (row.layout) {
    case OutputRow::Layout::kNone:
      return 0;
    case OutputRow::Layout::kF32Row:
      return static_cast<const float*>(row.data)[channel];
    case OutputRow::Layout::kF16Row:
      return F32FromF16(static_cast<const uint16_t*>(row.data)[channel]);
    case OutputRow::Layout::kF16Column:
      return F32FromF16(static_cast<const uint16_t*>(row.data)[channel * row.stride]);
  }
  return 0;
}

}  // namespace

void GatherRowsReference(ConstMatrix hidden, std::span<const int32_t> assignments,
                         int experts_per_token, Matrix out) {
  for (size_t r = 0; r < assignments.size(); ++r) {
    const float* row = hidden.Row(assignments[r] / experts_per_token);
    std::copy(row, row + hidden.columns, out.Row(static_cast<int64_t>(r)));
  }
}

void GatherTransposedF16Reference(ConstMatrix hidden, std::span<const int32_t> assignments,
                                  int experts_per_token, int64_t capacity, uint16_t* out) {
  std::fill(out, out + hidden.columns * capacity, uint16_t{0});
  for (size_t r = 0; r < assignments.size(); ++r) {
    const float* row = hidden.Row(assignments[r] / experts_per_token);
    for (int64_t h = 0; h < hidden.columns; ++h) {
      out[h * capacity + static_cast<int64_t>(r)] = F16FromF32(row[h]);
    }
  }
}

void GatherRowsF16Reference(ConstMatrix hidden, std::span<const int32_t> assignments,
                            int experts_per_token, int64_t capacity, uint16_t* out) {
  std::fill(out, out + hidden.columns * capacity, uint16_t{0});
  for (size_t r = 0; r < assignments.size(); ++r) {
    const float* row = hidden.Row(assignments[r] / experts_per_token);
    for (int64_t h = 0; h < hidden.columns; ++h) *out++ = F16FromF32(row[h]);
  }
}

void CombineRowsReference(std::span<const OutputRow> rows, std::span<const float> weights,
                          int experts_per_token, Matrix residual) {
  for (size_t i = 0; i < rows.size(); ++i) {
    float* out = residual.Row(static_cast<int64_t>(i) / experts_per_token);
    if (rows[i].layout == OutputRow::Layout::kNone) continue;
    for (int64_t h = 0; h < residual.columns; ++h) out[h] += weights[i] * ChannelOf(rows[i], h);
  }
}

}  // namespace npumoe
