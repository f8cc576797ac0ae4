// Dispatch: from router choices to per-expert lists of assignments, gather into expert buffers,
// and combine back into the residual. An assignment is a (token, slot) pair: index t * k + slot.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

// Assignments grouped by expert, in token order inside an expert (counting sort).
struct ExpertLists {
  std::vector<int32_t> offsets;      // [experts + 1]
  std::vector<int32_t> assignments;  // [T * k]: t * k + slot
  std::span<const int32_t> Of(int expert) const {
    const auto e = static_cast<size_t>(expert);
    return std::span(assignments)
        .subspan(static_cast<size_t>(offsets[e]), static_cast<size_t>(offsets[e + 1] - offsets[e]));
  }
};
void BuildExpertLists(std::span<const int32_t> ids, int experts_per_token, int num_experts,
                      ExpertLists& lists);

// out[r] = hidden[assignments[r] / k], fp32 rows.
void GatherRows(ConstMatrix hidden, std::span<const int32_t> assignments, int experts_per_token,
                Matrix out, ThreadPool& pool);

// fp32 -> fp16 into a static buffer in channel-major layout [H, capacity] (the transposing gather
// for [1, H, 1, C] inputs): out[h * capacity + r]; columns beyond the rows are zeros.
void GatherTransposedF16(ConstMatrix hidden, std::span<const int32_t> assignments,
                         int experts_per_token, int64_t capacity, uint16_t* out, ThreadPool& pool);
// fp32 -> fp16, row-major [capacity, H] (batched matmul form).
void GatherRowsF16(ConstMatrix hidden, std::span<const int32_t> assignments, int experts_per_token,
                   int64_t capacity, uint16_t* out, ThreadPool& pool);

// Where the output row of every assignment lies. Exactly one source per assignment; kNone adds
// nothing (dropped).
struct OutputRow {
  enum class Layout : uint8_t { kNone, kF32Row, kF16Row, kF16Column };
  const void* data = nullptr;  // first element
  int64_t stride = 1;          // elements between channels (kF16Column: the capacity)
  Layout layout = Layout::kNone;
};

// residual[t] += sum over slots of weights[t, slot] * row(t, slot), fp32. Rows of a token are
// added in slot order, so the result does not depend on threads. rows: [T * k].
void CombineRows(std::span<const OutputRow> rows, std::span<const float> weights,
                 int experts_per_token, Matrix residual, ThreadPool& pool);

// Plain loops.
void GatherRowsReference(ConstMatrix hidden, std::span<const int32_t> assignments,
                         int experts_per_token, Matrix out);
void GatherTransposedF16Reference(ConstMatrix hidden, std::span<const int32_t> assignments,
                                  int experts_per_token, int64_t capacity, uint16_t* out);
void GatherRowsF16Reference(ConstMatrix hidden, std::span<const int32_t> assignments,
                            int experts_per_token, int64_t capacity, uint16_t* out);
void CombineRowsReference(std::span<const OutputRow> rows, std::span<const float> weights,
                          int experts_per_token, Matrix residual);

}  // namespace npumoe
