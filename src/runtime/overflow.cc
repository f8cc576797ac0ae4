#include "runtime/overflow.h"

#include <algorithm>
#include <cmath>

namespace npumoe {

void RowNorms(ConstMatrix rows, std::vector<float>& norms, ThreadPool& pool) {
  norms.resize(static_cast<size_t>(rows.rows));
  pool.ParallelRanges(rows.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      float sum = 0;
      for (int64_t c = 0; c < rows.columns; ++c) sum += rows.Row(r)[c] * rows.Row(r)[c];
      norms[static_cast<size_t>(r)] = std::sqrt(sum);
    }
  });
}

void KeepMostSalient(std::span<int32_t> assignments, int64_t capacity, int experts_per_token,
                     std::span<const float> weights, std::span<const float> norms) {
  if (static_cast<int64_t>(assignments.size()) <= capacity) return;
  const auto saliency = [&](int32_t a) {
    const float s =
        weights[static_cast<size_t>(a)] * norms[static_cast<size_t>(a / experts_per_token)];
    return std::isnan(s) ? 0.0f : s;  // the order must be one, whatever the model computed
  };
  const auto border = assignments.begin() + capacity;
  std::nth_element(assignments.begin(), border, assignments.end(), [&](int32_t a, int32_t b) {
    const float sa = saliency(a);
    const float sb = saliency(b);
    return sa != sb ? sa > sb : a < b;
  });
  std::sort(assignments.begin(), border);
  std::sort(border, assignments.end());
}

}  // namespace npumoe
