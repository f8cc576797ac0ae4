// All activation rows times one block of weights, in strips of as many rows as the micro-kernel
// takes at once; what comes next is fetched meanwhile.
#if defined(NPUMOE_KERNELS_GEMM_STRIPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NPUMOE_KERNELS_GEMM_STRIPS_INL_H_
#undef NPUMOE_KERNELS_GEMM_STRIPS_INL_H_
#else
#define NPUMOE_KERNELS_GEMM_STRIPS_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "base/quantized_block.h"
#include "kernels/gemm/block_product.h"
#include "kernels/gemm/micro_kernel-inl.h"
#include "kernels/gemm/prefetch.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {

// Measured on Zen 5 (48 KB L1): six packed rows of one block, 24 KB, stay in the L1 cache beside
// the weights that stream through it; the transposing sum costs 78 instructions per 1536 FMAs.
// A multiple of every quantised block.
inline constexpr int64_t kColumnsPerBlock = 1024;
static_assert(kColumnsPerBlock % kMaxBlockElements == 0);

// Up to this many activation rows the memory behind the weights matters, so that the weights of
// the next block are fetched ahead; beyond, the next strip of activations is.
inline constexpr int64_t kFewRows = 96;

// One block of weights: rows [begin, end), columns [k, k + columns).
struct Block {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t k = 0;
  int64_t columns = 0;
};

// Up to Weights::kMaxRows activation rows that meet a block, and what to fetch meanwhile.
struct Strip {
  int64_t row = 0;
  int rows = 0;
  GradualPrefetch* next_block = nullptr;
  GradualPrefetch next_strip;
};

// Adds one tile's sums to the outputs [n, n + kWeightRows) of a row, or starts them.
HWY_INLINE void FinishRow(const BlockProduct& p, int64_t row, int64_t n, bool first,
                          const V (&acc)[kWeightRows]) {
  float* out = p.out.Row(row) + (n - p.begin);
  const float* initial = first ? (p.bias == nullptr ? nullptr : p.bias + n) : out;
  const int64_t valid = p.end - n;
  if (valid >= kWeightRows) return StoreSums(acc, initial, out);
  float padded[kWeightRows] = {};
  if (initial != nullptr) std::copy_n(initial, valid, padded);
  StoreSums(acc, padded, padded);
  std::copy_n(padded, valid, out);
}

template <class Weights, int kRows>
HWY_NOINLINE void MultiplyStrip(const BlockProduct& p, const Block& block,
                                const MemoryBlock& weights, Strip& strip) {
  using Element = typename Weights::Element;
  const float* x = p.in.data + strip.row * p.in.stride + block.k;
  const auto* first = static_cast<const std::byte*>(weights.data);
  for (int64_t n = block.begin; n < block.end; n += kWeightRows) {
    strip.next_block->Next();
    strip.next_strip.Next();
    const Element* w[kWeightRows];
    // Past the end the last row stands in; its results are not stored.
    for (int j = 0; j < kWeightRows; ++j) {
      const int64_t row = std::min(n + j, block.end - 1) - block.begin;
      w[j] = reinterpret_cast<const Element*>(first + row * weights.stride_bytes);
    }
    V acc[kRows][kWeightRows];
    MultiplyTile<Weights, kRows>(x, p.in.stride, w, block.columns, acc);
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) FinishRow(p, strip.row + r, n, block.k == 0, acc[r]);
  }
}

template <class Weights, int kRows>
void MultiplyStripOf(const BlockProduct& p, const Block& block, const MemoryBlock& weights,
                     Strip& strip) {
  if (strip.rows == kRows) return MultiplyStrip<Weights, kRows>(p, block, weights, strip);
  if constexpr (kRows > 1) MultiplyStripOf<Weights, kRows - 1>(p, block, weights, strip);
}

// `weights` are the block's, as elements of Weights; `next` is the memory that the next block
// reads. Strips are as equal as possible: 33 rows in strips of up to six are 5, 5, 5, 6, 6, 6
// rather than 6, 6, 6, 6, 6, 3.
template <class Weights>
void MultiplyBlockOf(const BlockProduct& p, const Block& block, const MemoryBlock& weights,
                     const MemoryBlock& next) {
  const int64_t strips = DivideRoundUp<int64_t>(p.in.rows, Weights::kMaxRows);
  const int64_t tiles = DivideRoundUp<int64_t>(block.end - block.begin, kWeightRows);
  const auto first_row = [&](int64_t strip) { return p.in.rows * strip / strips; };
  GradualPrefetch next_block;
  if (p.in.rows <= kFewRows) next_block = {next, strips * tiles};
  for (int64_t i = 0; i < strips; ++i) {
    Strip strip{first_row(i), static_cast<int>(first_row(i + 1) - first_row(i)), &next_block, {}};
    if (p.in.rows > kFewRows && i + 1 < strips) {
      const MemoryBlock rows{p.in.data + first_row(i + 1) * p.in.stride + block.k,
                             first_row(i + 2) - first_row(i + 1),
                             block.columns * static_cast<int64_t>(sizeof(float)),
                             p.in.stride * static_cast<int64_t>(sizeof(float))};
      strip.next_strip = {rows, tiles};
    }
    MultiplyStripOf<Weights, Weights::kMaxRows>(p, block, weights, strip);
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#endif
