#include "kernels/router/router.h"

namespace npumoe {

void RouteTopK(ConstMatrix logits, int k, bool normalize, std::span<int32_t> ids,
               std::span<float> weights, ThreadPool&) {
  RouteTopKReference(logits, k, normalize, ids, weights);
}

}  // namespace npumoe
