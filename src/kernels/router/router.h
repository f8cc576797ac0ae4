// Router: logits -> the k experts of each token and their weights, as the reference does. Chosen
// experts stand with the larger score first, the smaller index first on ties.
//   kSoftmaxTopK   p = softmax(logits); ids = top-k of p; weights = p[ids] (/ their sum)
//   kTopKSoftmax   ids = top-k of the logits; weights = softmax(logits[ids])
//   kSparseMixer   top 2, one after the other: the largest logit m; logits s with
//                  (m - s) / max(|s|, m) > 2 jitter are masked; weight = softmax of the rest at the
//                  chosen one. Then the chosen one is masked and the same done again on the rest.
//   kGroupLimited  p = softmax(logits); experts in `num_groups` equal groups; only the
//                  `groups_kept` groups with the largest best p stay; top-k of p in them
// At the end every weight is multiplied by `scale`.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

enum class RouterRule : uint8_t { kSoftmaxTopK, kTopKSoftmax, kSparseMixer, kGroupLimited };

struct RouterArgs {
  RouterRule rule = RouterRule::kSoftmaxTopK;
  int k = 0;
  bool normalize = false;  // kSoftmaxTopK and kGroupLimited
  float scale = 1;
  float jitter = 0;  // kSparseMixer; k is 2
  int num_groups = 1;
  int groups_kept = 1;
  ConstMatrix logits;  // [T, experts]
  // [T, choices] each, choices >= k: the first k of a row are written, the others left alone.
  int choices = 0;
  std::span<int32_t> ids;
  std::span<float> weights;
};

void Route(const RouterArgs& args, ThreadPool& pool);
void RouteReference(const RouterArgs& args);

}  // namespace npumoe
