// Cosines and sines cost far more than the rotation and are the same for every layer, so the
// calling thread keeps its last few tables.
#include "kernels/rope/rope.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope/rope.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One head: x [2 * half].
void RotateHead(const float* cosines, const float* sines, size_t half, float* x) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const auto cosine = hn::LoadU(d, cosines + i);
    const auto sine = hn::LoadU(d, sines + i);
    const auto low = hn::LoadU(d, x + i);
    const auto high = hn::LoadU(d, x + half + i);
    hn::StoreU(hn::NegMulAdd(high, sine, hn::Mul(low, cosine)), d, x + i);
    hn::StoreU(hn::MulAdd(low, sine, hn::Mul(high, cosine)), d, x + half + i);
  }
  for (; i < half; ++i) {
    const float low = x[i];
    const float high = x[half + i];
    x[i] = low * cosines[i] - high * sines[i];
    x[half + i] = high * cosines[i] + low * sines[i];
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {
namespace {

HWY_EXPORT(RotateHead);

// Below this many elements one thread is done before another one has woken up (chosen).
constexpr int64_t kMinParallelElements = 1 << 15;

// cos and sin of (position + r) * frequency[i]: row r is [half] cosines, then [half] sines.
struct Rotations {
  std::vector<float> frequencies;
  int64_t position = -1;
  int64_t rows = 0;
  std::vector<float> values;

  bool Covers(std::span<const float> f, int64_t first, int64_t count) const {
    return position >= 0 && position <= first && first + count <= position + rows &&
           std::equal(f.begin(), f.end(), frequencies.begin(), frequencies.end());
  }
  const float* Row(int64_t at) const {
    return values.data() + (at - position) * static_cast<int64_t>(2 * frequencies.size());
  }
};

void Fill(std::span<const float> frequencies, int64_t position, int64_t rows, Rotations& table) {
  const size_t half = frequencies.size();
  table.frequencies.assign(frequencies.begin(), frequencies.end());
  table.position = position;
  table.rows = rows;
  table.values.resize(static_cast<size_t>(rows) * 2 * half);
  float* row = table.values.data();
  for (int64_t r = 0; r < rows; ++r, row += 2 * half) {
    for (size_t i = 0; i < half; ++i) {
      // The angle is an fp32 product, as in the Hugging Face implementation.
      const double angle = double{static_cast<float>(position + r) * frequencies[i]};
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

// Two chunks in flight, each with the tables of two kinds of layer.
constexpr size_t kTables = 4;

const Rotations& FindRotations(std::span<const float> frequencies, int64_t position, int64_t rows) {
  thread_local std::array<Rotations, kTables> tables;
  thread_local size_t next = 0;
  for (const Rotations& table : tables) {
    if (table.Covers(frequencies, position, rows)) return table;
  }
  Rotations& table = tables[next];
  next = (next + 1) % kTables;
  Fill(frequencies, position, rows, table);
  return table;
}

}  // namespace

std::vector<float> RopeInverseFrequencies(int head_dim, double theta) {
  NPUMOE_CHECK(head_dim > 0 && head_dim % 2 == 0);
  std::vector<float> frequencies(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    // Hugging Face: 1.0 / (base ** (arange(0, d, 2) / d)), every step in fp32.
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const auto power = static_cast<float>(std::pow(theta, double{exponent}));
    frequencies[i] = 1.0f / power;
  }
  return frequencies;
}

void Rope(Matrix heads, int head_dim, std::span<const float> inverse_frequencies, int64_t position,
          ThreadPool& pool) {
  const size_t half = inverse_frequencies.size();
  NPUMOE_CHECK(head_dim > 0 && static_cast<size_t>(head_dim) == 2 * half);
  NPUMOE_CHECK(heads.columns % head_dim == 0 && position >= 0);
  const Rotations& table = FindRotations(inverse_frequencies, position, heads.rows);
  const auto body = [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* cosines = table.Row(position + r);
      for (int64_t column = 0; column < heads.columns; column += head_dim) {
        HWY_DYNAMIC_DISPATCH(RotateHead)
        (cosines, cosines + half, half, heads.Row(r) + column);
      }
    }
  };
  if (heads.rows * heads.columns < kMinParallelElements) return body(0, heads.rows, 0);
  pool.ParallelRanges(heads.rows, 1, body);
}

}  // namespace npumoe
#endif
