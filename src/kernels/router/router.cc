#include "kernels/router/router.h"

#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "kernels/activation/activation.h"

namespace npumoe {
namespace {

// Below this many logits one thread is done before another one has woken up (chosen).
constexpr int64_t kMinParallelLogits = 1 << 13;

// ids, weights [k]: the k largest of p, larger first, smaller index first on ties. One pass that
// inserts into the sorted choices; most experts fail the first comparison.
void TopK(std::span<const float> p, std::span<int32_t> ids, std::span<float> weights) {
  const size_t k = ids.size();
  size_t count = 0;
  for (size_t e = 0; e < p.size(); ++e) {
    if (count == k && !(p[e] > weights[k - 1])) continue;
    size_t place = count < k ? count++ : k - 1;
    for (; place > 0 && p[e] > weights[place - 1]; --place) {
      weights[place] = weights[place - 1];
      ids[place] = ids[place - 1];
    }
    weights[place] = p[e];
    ids[place] = static_cast<int32_t>(e);
  }
}

void RouteToken(std::span<const float> logits, bool normalize, std::span<float> p,
                std::span<int32_t> ids, std::span<float> weights) {
  std::copy(logits.begin(), logits.end(), p.begin());
  Softmax(p);
  TopK(p, ids, weights);
  if (!normalize) return;
  float sum = 0;
  for (float w : weights) sum += w;
  for (float& w : weights) w /= sum;
}

}  // namespace

void RouteTopK(ConstMatrix logits, int k, bool normalize, std::span<int32_t> ids,
               std::span<float> weights, ThreadPool& pool) {
  NPUMOE_CHECK(k > 0 && k <= logits.columns);
  NPUMOE_CHECK(ids.size() == static_cast<size_t>(logits.rows * k) && weights.size() == ids.size());
  const auto experts = static_cast<size_t>(logits.columns);
  const auto choices = static_cast<size_t>(k);
  const auto body = [&](int64_t begin, int64_t end, int) {
    thread_local AlignedBuffer<float> p;
    p.EnsureSize(experts);
    for (auto t = static_cast<size_t>(begin); t < static_cast<size_t>(end); ++t) {
      RouteToken({logits.Row(static_cast<int64_t>(t)), experts}, normalize, {p.data(), experts},
                 ids.subspan(t * choices, choices), weights.subspan(t * choices, choices));
    }
  };
  if (logits.rows * logits.columns < kMinParallelLogits) return body(0, logits.rows, 0);
  pool.ParallelRanges(logits.rows, 1, body);
}

}  // namespace npumoe
