// Cosines and sines cost far more than the rotation and are the same for every layer, so the
// calling thread keeps its last few tables.
#include "kernels/rope/rope.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/aligned_buffer.h"
#include "base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope/rope.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One pair of vectors, in half-split order.
template <class D, class V>
HWY_INLINE void StoreRotated(D d, V a, V b, const float* cosines, const float* sines, size_t half,
                             float* x) {
  const auto cosine = hn::LoadU(d, cosines);
  const auto sine = hn::LoadU(d, sines);
  hn::StoreU(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), d, x);
  hn::StoreU(hn::MulAdd(a, sine, hn::Mul(b, cosine)), d, x + half);
}

// One head: x [2 * half].
void RotateHead(const float* cosines, const float* sines, size_t half, float* x) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    StoreRotated(d, hn::LoadU(d, x + i), hn::LoadU(d, x + half + i), cosines + i, sines + i, half,
                 x + i);
  }
  for (; i < half; ++i) {
    StoreRotated(one, hn::LoadU(one, x + i), hn::LoadU(one, x + half + i), cosines + i, sines + i,
                 half, x + i);
  }
}

// One head whose pairs stand side by side. `copy` [2 * half]: the results lie elsewhere.
void RotateInterleavedHead(const float* cosines, const float* sines, size_t half, float* x,
                           float* copy) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const size_t lanes = hn::Lanes(d);
  std::copy_n(x, 2 * half, copy);
  size_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    hn::Vec<decltype(d)> a, b;
    hn::LoadInterleaved2(d, copy + 2 * i, a, b);
    StoreRotated(d, a, b, cosines + i, sines + i, half, x + i);
  }
  for (; i < half; ++i) {
    StoreRotated(one, hn::Set(one, copy[2 * i]), hn::Set(one, copy[2 * i + 1]), cosines + i,
                 sines + i, half, x + i);
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
HWY_EXPORT(RotateInterleavedHead);

// Below this many elements one thread is done before another one has woken up (chosen).
constexpr int64_t kMinParallelElements = 1 << 15;

// scale * cos and scale * sin of (position + r) * frequency[i]: row r is [half] cosines, then
// [half] sines.
struct Rotations {
  std::vector<float> frequencies;
  float scale = 1;
  int64_t position = -1;
  int64_t rows = 0;
  std::vector<float> values;

  bool Covers(const RopeArgs& args) const {
    const std::span<const float> f = args.inverse_frequencies;
    return position >= 0 && position <= args.position &&
           args.position + args.rows.rows <= position + rows && scale == args.scale &&
           std::equal(f.begin(), f.end(), frequencies.begin(), frequencies.end());
  }
  const float* Row(int64_t at) const {
    return values.data() + (at - position) * static_cast<int64_t>(2 * frequencies.size());
  }
};

void Fill(const RopeArgs& args, Rotations& table) {
  const std::span<const float> frequencies = args.inverse_frequencies;
  const size_t half = frequencies.size();
  table.frequencies.assign(frequencies.begin(), frequencies.end());
  table.scale = args.scale;
  table.position = args.position;
  table.rows = args.rows.rows;
  table.values.resize(static_cast<size_t>(table.rows) * 2 * half);
  float* row = table.values.data();
  for (int64_t r = 0; r < table.rows; ++r, row += 2 * half) {
    for (size_t i = 0; i < half; ++i) {
      // The angle is an fp32 product, and the scale multiplies fp32 cosines and sines, as in the
      // Hugging Face implementation.
      const double angle = double{static_cast<float>(args.position + r) * frequencies[i]};
      row[i] = static_cast<float>(std::cos(angle)) * args.scale;
      row[half + i] = static_cast<float>(std::sin(angle)) * args.scale;
    }
  }
}

// Two chunks in flight, each with the tables of two kinds of layer.
constexpr size_t kTables = 4;

const Rotations& FindRotations(const RopeArgs& args) {
  thread_local std::array<Rotations, kTables> tables;
  thread_local size_t next = 0;
  for (const Rotations& table : tables) {
    if (table.Covers(args)) return table;
  }
  Rotations& table = tables[next];
  next = (next + 1) % kTables;
  Fill(args, table);
  return table;
}

void RotateRow(const RopeArgs& args, const Rotations& table, int64_t r) {
  thread_local AlignedBuffer<float> copy;
  const size_t half = args.inverse_frequencies.size();
  if (args.interleaved) copy.EnsureSize(2 * half);
  const float* cosines = table.Row(args.position + r);
  float* const end = args.rows.Row(r) + args.rows.columns;
  for (float* x = args.rows.Row(r) + args.rotary_offset; x < end; x += args.head_dim) {
    if (args.interleaved) {
      HWY_DYNAMIC_DISPATCH(RotateInterleavedHead)(cosines, cosines + half, half, x, copy.data());
    } else {
      HWY_DYNAMIC_DISPATCH(RotateHead)(cosines, cosines + half, half, x);
    }
  }
}

void Check(const RopeArgs& args) {
  const int rotary_dim = args.rotary_dim == 0 ? args.head_dim : args.rotary_dim;
  NPUMOE_CHECK(args.head_dim > 0 && rotary_dim > 0 && args.rotary_offset >= 0);
  NPUMOE_CHECK(args.rotary_offset + rotary_dim <= args.head_dim);
  NPUMOE_CHECK(static_cast<size_t>(rotary_dim) == 2 * args.inverse_frequencies.size());
  NPUMOE_CHECK(args.rows.columns % args.head_dim == 0 && args.position >= 0);
}

}  // namespace

void Rope(const RopeArgs& args, ThreadPool& pool) {
  Check(args);
  const Rotations& table = FindRotations(args);
  const auto body = [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) RotateRow(args, table, r);
  };
  if (args.rows.rows * args.rows.columns < kMinParallelElements) return body(0, args.rows.rows, 0);
  pool.ParallelRanges(args.rows.rows, 1, body);
}

void Rope(Matrix heads, int head_dim, std::span<const float> inverse_frequencies, int64_t position,
          ThreadPool& pool) {
  RopeArgs args;
  args.rows = heads;
  args.head_dim = head_dim;
  args.inverse_frequencies = inverse_frequencies;
  args.position = position;
  Rope(args, pool);
}

}  // namespace npumoe
#endif
