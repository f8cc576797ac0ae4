// Router: logits -> the k experts of each token and their weights, as the reference does:
//   p = softmax(logits) in fp32; ids = top-k of p, larger first, the smaller index first on ties;
//   weights = p[ids], divided by their sum if `normalize`.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

// logits [T, experts]; ids, weights [T, k].
void RouteTopK(ConstMatrix logits, int k, bool normalize, std::span<int32_t> ids,
               std::span<float> weights, ThreadPool& pool);
void RouteTopKReference(ConstMatrix logits, int k, bool normalize, std::span<int32_t> ids,
                        std::span<float> weights);

}  // namespace npumoe
