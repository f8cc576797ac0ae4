// Rotary position embedding in the half-split form of Hugging Face ("rotate_half"):
//   x'[i]       = x[i] cos(p f_i) - x[i + d/2] sin(p f_i)
//   x'[i + d/2] = x[i + d/2] cos(p f_i) + x[i] sin(p f_i)      f_i = theta^(-2i/d), 0 <= i < d/2
// Frequencies and angles are computed as the reference does (fp32 inverse frequencies).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

std::vector<float> RopeInverseFrequencies(int head_dim, double theta);  // [head_dim / 2]

// In place over every head of every row; row r stands at `position + r`.
void Rope(Matrix heads, int head_dim, std::span<const float> inverse_frequencies, int64_t position,
          ThreadPool& pool);
void RopeReference(Matrix heads, int head_dim, std::span<const float> inverse_frequencies,
                   int64_t position);

}  // namespace npumoe
