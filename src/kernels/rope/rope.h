// Rotary position embedding. Pair i of a head, (a, b), turns by the angle p f_i:
//   a' = s (a cos(p f_i) - b sin(p f_i))      b' = s (b cos(p f_i) + a sin(p f_i))
// s is the attention factor of scaled variants, else 1. In the half-split form of Hugging Face a
// and b are elements i and i + d/2; interleaved they are elements 2i and 2i + 1. The output always
// has the half-split order, so that q . k adds up in one order whatever the file's.
// Frequencies and angles are computed as the reference does (fp32 inverse frequencies).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/matrix.h"

namespace npumoe {

std::vector<float> RopeInverseFrequencies(int rotary_dim, double theta);  // [rotary_dim / 2]

// YaRN: f_i / factor below the ramp, f_i above it, a blend on it. The ramp runs between the
// dimensions that turn beta_fast and beta_slow times within original_max_positions.
struct YarnParameters {
  double factor = 1;
  double original_max_positions = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;  // floor and ceil the ends of the ramp
};
std::vector<float> YarnInverseFrequencies(int rotary_dim, double theta, const YarnParameters& yarn);
// LongRoPE: f_i / factors[i]; factors [rotary_dim / 2].
std::vector<float> LongRopeInverseFrequencies(int rotary_dim, double theta,
                                              std::span<const double> factors);

struct RopeArgs {
  Matrix rows;            // [T, heads * head_dim]; row r stands at `position + r`
  int head_dim = 0;       // elements from one head to the next
  int rotary_offset = 0;  // first element of a head that turns; those before stay
  int rotary_dim = 0;     // how many turn; 0: head_dim
  std::span<const float> inverse_frequencies;  // [rotary_dim / 2]
  float scale = 1;
  bool interleaved = false;
  int64_t position = 0;
};

// In place.
void Rope(const RopeArgs& args, ThreadPool& pool);
void RopeReference(const RopeArgs& args);

// The plain form over every whole head.
void Rope(Matrix heads, int head_dim, std::span<const float> inverse_frequencies, int64_t position,
          ThreadPool& pool);
void RopeReference(Matrix heads, int head_dim, std::span<const float> inverse_frequencies,
                   int64_t position);

}  // namespace npumoe
