#include <cmath>
#include <vector>

#include "base/check.h"
#include "kernels/rope/rope.h"

namespace npumoe {
namespace {

void RotateReference(const RopeArgs& args, int64_t position, float* x) {
  const size_t half = args.inverse_frequencies.size();
  const std::vector<float> before(x, x + 2 * half);
  for (size_t i = 0; i < half; ++i) {
    // The angle is an fp32 product, as in the Hugging Face implementation.
    const float angle = static_cast<float>(position) * args.inverse_frequencies[i];
    const float cosine = static_cast<float>(std::cos(double{angle})) * args.scale;
    const float sine = static_cast<float>(std::sin(double{angle})) * args.scale;
    const float a = args.interleaved ? before[2 * i] : before[i];
    const float b = args.interleaved ? before[2 * i + 1] : before[i + half];
    x[i] = a * cosine - b * sine;
    x[i + half] = b * cosine + a * sine;
  }
}

}  // namespace

void RopeReference(const RopeArgs& args) {
  const int rotary_dim = args.rotary_dim == 0 ? args.head_dim : args.rotary_dim;
  NPUMOE_CHECK(args.rotary_offset + rotary_dim <= args.head_dim);
  NPUMOE_CHECK(static_cast<size_t>(rotary_dim) == 2 * args.inverse_frequencies.size());
  for (int64_t r = 0; r < args.rows.rows; ++r) {
    for (int64_t head = 0; head < args.rows.columns; head += args.head_dim) {
      RotateReference(args, args.position + r, args.rows.Row(r) + head + args.rotary_offset);
    }
  }
}

void RopeReference(Matrix heads, int head_dim, std::span<const float> inverse_frequencies,
                   int64_t position) {
  RopeArgs args;
  args.rows = heads;
  args.head_dim = head_dim;
  args.inverse_frequencies = inverse_frequencies;
  args.position = position;
  RopeReference(args);
}

}  // namespace npumoe
