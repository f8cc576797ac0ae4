// The micro-kernel: kRows activation rows times kWeightRows weight rows, dot products with
// vectors along k. All accumulators of the tile live in registers; a tile ends with a transposing
// sum that turns kWeightRows accumulators into adjacent outputs.
#if defined(NPUMOE_KERNELS_GEMM_MICRO_KERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NPUMOE_KERNELS_GEMM_MICRO_KERNEL_INL_H_
#undef NPUMOE_KERNELS_GEMM_MICRO_KERNEL_INL_H_
#else
#define NPUMOE_KERNELS_GEMM_MICRO_KERNEL_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using FourD = hn::CappedTag<float, 4>;

inline constexpr int kLanes = static_cast<int>(HWY_LANES(float));
inline constexpr int kWeightRows = 4;
// Rows of a tile. Registers hold kRows * 4 accumulators, four weights and an activation: 6 rows of
// the 32 of AVX-512 and NEON. AVX2 has 16: 3 rows where weights can be operands in memory (F32),
// 2 where they are converted first (measured: 3 spill and halve the speed).
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SCALAR
inline constexpr int kMaxRowsF32 = 3;
inline constexpr int kMaxRowsConverted = 2;
#else
inline constexpr int kMaxRowsF32 = 6;
inline constexpr int kMaxRowsConverted = 6;
#endif

// How one element type reaches fp32 lanes. A step is kVectors vectors of packed activations, and
// Load<i> gives the weights that belong to the i-th of them.
struct F32Weights {
  using Element = float;
  static constexpr int kMaxRows = kMaxRowsF32;
  static constexpr int kVectors = 1;
  template <int i>
  static HWY_INLINE V Load(const float* p) {
    return hn::LoadU(D(), p);
  }
};

struct F16Weights {
  using Element = uint16_t;
  static constexpr int kMaxRows = kMaxRowsConverted;
  static constexpr int kVectors = 1;
  template <int i>
  static HWY_INLINE V Load(const uint16_t* p) {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(D(), F32FromF16(*p));
#else
    const hn::Rebind<hwy::float16_t, D> half;
    return hn::PromoteTo(D(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(p)));
#endif
  }
};

struct BF16Weights {
  using Element = uint16_t;
  static constexpr int kMaxRows = kMaxRowsConverted;
#if HWY_TARGET == HWY_SCALAR
  static constexpr int kVectors = 1;
  template <int i>
  static HWY_INLINE V Load(const uint16_t* p) {
    return hn::Set(D(), F32FromBF16(*p));
  }
#else
  static constexpr int kVectors = 2;
  template <int i>
  static HWY_INLINE V Load(const uint16_t* p) {
    const hn::RebindToUnsigned<D> words;
    const auto pairs = hn::BitCast(words, hn::LoadU(hn::Repartition<uint16_t, D>(), p));
    if constexpr (i == 0) return hn::BitCast(D(), hn::ShiftLeft<16>(pairs));
    return hn::BitCast(D(), hn::And(pairs, hn::Set(words, 0xFFFF0000u)));
  }
#endif
};

template <class Weights>
inline constexpr int kStep = Weights::kVectors* kLanes;

// acc[r][j] += x[r] * w[j] over one step's i-th vector.
template <class Weights, int kRows, int i>
HWY_INLINE void Accumulate(const float* x, int64_t x_stride,
                           const typename Weights::Element* const (&w)[kWeightRows], int64_t k,
                           V (&acc)[kRows][kWeightRows]) {
  V weights[kWeightRows];
  HWY_UNROLL(8)
  for (int j = 0; j < kWeightRows; ++j) weights[j] = Weights::template Load<i>(w[j] + k);
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    const V row = hn::LoadU(D(), x + r * x_stride + k + i * kLanes);
    HWY_UNROLL(8)
    for (int j = 0; j < kWeightRows; ++j) acc[r][j] = hn::MulAdd(row, weights[j], acc[r][j]);
  }
}

template <class Weights, int kRows>
HWY_INLINE void AccumulateStep(const float* x, int64_t x_stride,
                               const typename Weights::Element* const (&w)[kWeightRows], int64_t k,
                               V (&acc)[kRows][kWeightRows]) {
  Accumulate<Weights, kRows, 0>(x, x_stride, w, k, acc);
  if constexpr (Weights::kVectors == 2) Accumulate<Weights, kRows, 1>(x, x_stride, w, k, acc);
}

// The columns beyond the last whole step, padded with zeros like the packed activations: weights
// are never read beyond their tensor.
template <class Weights, int kRows>
HWY_INLINE void AccumulateRest(const float* x, int64_t x_stride,
                               const typename Weights::Element* const (&w)[kWeightRows], int64_t k,
                               int64_t rest, V (&acc)[kRows][kWeightRows]) {
  using Element = typename Weights::Element;
  HWY_ALIGN Element padded[kWeightRows][kStep<Weights>] = {};
  const Element* rows[kWeightRows];
  for (int j = 0; j < kWeightRows; ++j) {
    std::memcpy(padded[j], w[j] + k, static_cast<size_t>(rest) * sizeof(Element));
    rows[j] = padded[j];
  }
  AccumulateStep<Weights, kRows>(x + k, x_stride, rows, 0, acc);
}

// One activation row is bound by memory: each step asks for the weights that come `ahead_bytes`
// later, spread evenly over the stream. A prefetch beyond the tensor does nothing.
template <class Weights>
HWY_INLINE void PrefetchAhead(const typename Weights::Element* const (&w)[kWeightRows], int64_t k,
                              int64_t ahead_bytes) {
  HWY_UNROLL(8)
  for (int j = 0; j < kWeightRows; ++j) {
    __builtin_prefetch(reinterpret_cast<const char*>(w[j] + k) + ahead_bytes);
  }
}

// kRows x kWeightRows outputs over one block of columns. `ahead_bytes`: see PrefetchAhead; 0 asks
// for nothing.
template <class Weights, int kRows>
HWY_INLINE void MultiplyTile(const float* x, int64_t x_stride,
                             const typename Weights::Element* const (&w)[kWeightRows],
                             int64_t columns, V (&acc)[kRows][kWeightRows],
                             [[maybe_unused]] int64_t ahead_bytes = 0) {
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(8)
    for (int j = 0; j < kWeightRows; ++j) acc[r][j] = hn::Zero(D());
  }
  constexpr int64_t step = kStep<Weights>;
  int64_t k = 0;
  for (; k + step <= columns; k += step) {
    if constexpr (kRows == 1) {
      if (ahead_bytes != 0) PrefetchAhead<Weights>(w, k, ahead_bytes);
    }
    AccumulateStep<Weights, kRows>(x, x_stride, w, k, acc);
  }
  if (k < columns) AccumulateRest<Weights, kRows>(x, x_stride, w, k, columns - k, acc);
}

#if HWY_TARGET != HWY_SCALAR
// Sum of the 128-bit blocks of v.
template <class DV, class VV>
HWY_INLINE hn::Vec<FourD> SumBlocks(DV /*d*/, VV v) {
  if constexpr (hn::MaxLanes(DV()) <= 4) {
    return v;
  } else {
    const hn::Half<DV> half;
    return SumBlocks(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// {sum of a[0], ..., sum of a[3]} by transposing while adding.
HWY_INLINE hn::Vec<FourD> SumEach(const V (&a)[kWeightRows]) {
  const D d;
  const hn::Repartition<double, D> pairs;
  const V a01 = hn::Add(hn::InterleaveLower(d, a[0], a[1]), hn::InterleaveUpper(d, a[0], a[1]));
  const V a23 = hn::Add(hn::InterleaveLower(d, a[2], a[3]), hn::InterleaveUpper(d, a[2], a[3]));
  const auto p01 = hn::BitCast(pairs, a01);
  const auto p23 = hn::BitCast(pairs, a23);
  return SumBlocks(d, hn::Add(hn::BitCast(d, hn::InterleaveLower(pairs, p01, p23)),
                              hn::BitCast(d, hn::InterleaveUpper(pairs, p01, p23))));
}
#endif

// sums[0..3] = (initial ? initial[0..3] : 0) + the four sums.
HWY_INLINE void StoreSums(const V (&acc)[kWeightRows], const float* initial, float* sums) {
#if HWY_TARGET == HWY_SCALAR
  for (int j = 0; j < kWeightRows; ++j) {
    sums[j] = (initial == nullptr ? 0.0f : initial[j]) + hn::GetLane(acc[j]);
  }
#else
  const FourD d;
  hn::Vec<FourD> sum = SumEach(acc);
  if (initial != nullptr) sum = hn::Add(hn::LoadU(d, initial), sum);
  hn::StoreU(sum, d, sums);
#endif
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#endif
