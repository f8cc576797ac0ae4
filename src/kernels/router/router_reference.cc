#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "kernels/router/router.h"

namespace npumoe {

void RouteTopKReference(ConstMatrix logits, int k, bool normalize, std::span<int32_t> ids,
                        std::span<float> weights) {
  const int64_t experts = logits.columns;
  NPUMOE_CHECK(k > 0 && k <= experts);
  NPUMOE_CHECK(ids.size() == static_cast<size_t>(logits.rows * k) && weights.size() == ids.size());
  std::vector<float> p(static_cast<size_t>(experts));
  std::vector<int32_t> order(p.size());
  for (int64_t t = 0; t < logits.rows; ++t) {
    const float* row = logits.Row(t);
    const float max = *std::max_element(row, row + experts);
    float sum = 0;
    for (size_t e = 0; e < p.size(); ++e) sum += p[e] = std::exp(row[e] - max);
    for (float& value : p) value /= sum;
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&p](int32_t a, int32_t b) {
      return p[static_cast<size_t>(a)] > p[static_cast<size_t>(b)];
    });
    const auto begin = static_cast<size_t>(t * k);
    float chosen = 0;
    for (size_t i = 0; i < static_cast<size_t>(k); ++i) {
      ids[begin + i] = order[i];
      chosen += weights[begin + i] = p[static_cast<size_t>(order[i])];
    }
    if (!normalize) continue;
    for (size_t i = 0; i < static_cast<size_t>(k); ++i) weights[begin + i] /= chosen;
  }
}

}  // namespace npumoe
