// Overflow in the paper's lossy mode: of the tokens routed to an expert beyond its capacity, the
// least salient are dropped. Saliency of an assignment = router weight times the L2 norm of the
// hidden row that the expert would get.
//
// Off unless asked for twice (overflow mode "drop" and leave for lossy answers); otherwise overflow
// is spilled to the CPU and this file is not involved.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

// norms[t] = |rows[t]|_2
void RowNorms(ConstMatrix rows, std::vector<float>& norms, ThreadPool& pool);

// Reorders the assignments (t * k + slot, in token order) of one expert: the `capacity` most
// salient first, in token order, then the others, in token order. The earlier token wins a tie.
void KeepMostSalient(std::span<int32_t> assignments, int64_t capacity, int experts_per_token,
                     std::span<const float> weights, std::span<const float> norms);

}  // namespace npumoe
