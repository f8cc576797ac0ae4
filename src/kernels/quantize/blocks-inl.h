// Quantised blocks as vectors of fp32, 32 values at a time ("a run"), in their natural order. A
// block is kSteps steps of kStepRuns runs; a struct per type says
//   kBytes          of a block
//   Scales, Open    what a block's scales become once for all its runs
//   Decode<run>     the values of a run of a step
// Values have the bits that base/quantized_block.h gives (payloads of NaN apart): scale times
// integer is exact in fp32, so multiplying and adding in one step rounds as in two.
#if defined(NPUMOE_KERNELS_QUANTIZE_BLOCKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NPUMOE_KERNELS_QUANTIZE_BLOCKS_INL_H_
#undef NPUMOE_KERNELS_QUANTIZE_BLOCKS_INL_H_
#else
#define NPUMOE_KERNELS_QUANTIZE_BLOCKS_INL_H_
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "base/quantized_block.h"
#include "hwy/highway.h"

// The fallback targets gain nothing from vectors: they decode with base/quantized_block.h.
#undef NPUMOE_VECTOR_BLOCKS
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
#define NPUMOE_VECTOR_BLOCKS 0
#else
#define NPUMOE_VECTOR_BLOCKS 1
#endif

#if NPUMOE_VECTOR_BLOCKS
HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace blocks {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using DI = hn::RebindToSigned<D>;
using VI = hn::Vec<DI>;

inline constexpr int kLanes = static_cast<int>(HWY_LANES(float));
inline constexpr int kRunElements = 32;
inline constexpr int kRunVectors = kRunElements / kLanes;
static_assert(kLanes == 4 || kLanes == 8 || kLanes == 16);

HWY_INLINE V Half(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  const hn::Rebind<uint16_t, D> words;
  const hn::Rebind<hwy::float16_t, D> halves;
  return hn::PromoteTo(D(), hn::BitCast(halves, hn::Set(words, bits)));
}

HWY_INLINE uint32_t Word(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

HWY_INLINE V Float(VI v) { return hn::ConvertTo(D(), v); }

HWY_INLINE VI Bytes(const uint8_t* p) {
  return hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<uint8_t, D>(), p));
}

HWY_INLINE VI SignedBytes(const uint8_t* p) {
  return hn::PromoteTo(DI(),
                       hn::LoadU(hn::Rebind<int8_t, D>(), reinterpret_cast<const int8_t*>(p)));
}

HWY_INLINE VI Bits(VI v, int mask) { return hn::And(v, hn::Set(DI(), mask)); }

// Vector i of 32 nibbles in 16 bytes, low nibbles first.
HWY_INLINE VI NibblesOfBlock(const uint8_t* p, int i) {
  const VI bytes = Bytes(p + i * kLanes % 16);
  return i * kLanes < 16 ? Bits(bytes, 15) : hn::ShiftRight<4>(bytes);
}

// Vector i of the low (0) or the high (1) nibbles of 32 bytes.
template <int kHigh>
HWY_INLINE VI NibblesOfPair(const uint8_t* p, int i) {
  const VI bytes = Bytes(p + i * kLanes);
  return kHigh == 0 ? Bits(bytes, 15) : hn::ShiftRight<4>(bytes);
}

// Vector i of 32 bits, each moved to the place above a nibble.
HWY_INLINE VI FifthBitsOfBlock(uint32_t bits, int i) {
  const hn::RebindToUnsigned<D> words;
  const auto shifts = hn::Iota(words, static_cast<uint32_t>(i * kLanes));
  const auto lowest = hn::Shr(hn::Set(words, bits), shifts);
  return Bits(hn::BitCast(DI(), hn::ShiftLeft<4>(lowest)), 16);
}

// What 4-bit integers q stand for: scale (q - 8), scale q + minimum, or E2M1. With 16 lanes one
// vector holds all sixteen values and a permutation looks them up; fewer lanes compute.
#if HWY_CAP_GE512
class FourBitTable {
 public:
  explicit HWY_INLINE FourBitTable(V values) : values_(values) {}
  HWY_INLINE V At(VI q) const { return hn::TableLookupLanes(values_, hn::IndicesFromVec(D(), q)); }

 private:
  V values_;
};

struct Centered : FourBitTable {
  explicit HWY_INLINE Centered(V scale) : FourBitTable(hn::Mul(Float(hn::Iota(DI(), -8)), scale)) {}
};

struct Affine : FourBitTable {
  HWY_INLINE Affine(V scale, V minimum)
      : FourBitTable(hn::MulAdd(Float(hn::Iota(DI(), 0)), scale, minimum)) {}
};

struct E2M1 : FourBitTable {
  explicit HWY_INLINE E2M1(V half_scale)
      : FourBitTable(hn::Mul(
            Float(SignedBytes(reinterpret_cast<const uint8_t*>(kTwiceE2M1.data()))), half_scale)) {}
};
#else
struct Centered {
  V scale;
  HWY_INLINE V At(VI q) const { return hn::Mul(Float(hn::Sub(q, hn::Set(DI(), 8))), scale); }
};

struct Affine {
  V scale, minimum;
  HWY_INLINE V At(VI q) const { return hn::MulAdd(Float(q), scale, minimum); }
};

struct E2M1 {
  V half_scale;
  // Twice the magnitude of m = 0..7 is 0, 1, 2, 3, 4, 6, 8, 12: m, steeper from 4 and from 6 on.
  HWY_INLINE V At(VI q) const {
    const VI zero = hn::Zero(DI());
    const VI m = Bits(q, 7);
    const VI from4 = hn::Max(hn::Sub(m, hn::Set(DI(), 4)), zero);
    const VI from6 = hn::Max(hn::Sub(m, hn::Set(DI(), 6)), zero);
    const VI twice = hn::Add(hn::Add(m, from4), hn::Add(from6, from6));
    const VI sign = hn::Sub(zero, hn::ShiftRight<3>(q));  // 0 or -1
    return hn::Mul(Float(hn::Sub(hn::Xor(twice, sign), sign)), half_scale);
  }
};
#endif

// What the types with blocks of 32 values share.
template <int kSize>
struct SmallBlocks {
  static constexpr int kBytes = kSize, kSteps = 1, kStepRuns = 1;
};

struct Q8_0Blocks : SmallBlocks<34> {
  using Scales = V;
  static HWY_INLINE Scales Open(const uint8_t* block) { return Half(block); }
  template <int kRun>
  static HWY_INLINE void Decode(const uint8_t* block, const Scales& d, int /*step*/,
                                V (&out)[kRunVectors]) {
    for (int i = 0; i < kRunVectors; ++i) {
      out[i] = hn::Mul(Float(SignedBytes(block + 2 + i * kLanes)), d);
    }
  }
};

struct Q4_0Blocks : SmallBlocks<18> {
  using Scales = Centered;
  static HWY_INLINE Scales Open(const uint8_t* block) { return Centered{Half(block)}; }
  template <int kRun>
  static HWY_INLINE void Decode(const uint8_t* block, const Scales& d, int /*step*/,
                                V (&out)[kRunVectors]) {
    for (int i = 0; i < kRunVectors; ++i) out[i] = d.At(NibblesOfBlock(block + 2, i));
  }
};

struct Q4_1Blocks : SmallBlocks<20> {
  using Scales = Affine;
  static HWY_INLINE Scales Open(const uint8_t* block) {
    return Affine{Half(block), Half(block + 2)};
  }
  template <int kRun>
  static HWY_INLINE void Decode(const uint8_t* block, const Scales& d, int /*step*/,
                                V (&out)[kRunVectors]) {
    for (int i = 0; i < kRunVectors; ++i) out[i] = d.At(NibblesOfBlock(block + 4, i));
  }
};

inline constexpr auto kHalfScales = [] {
  std::array<float, 256> scales{};
  for (int e = 0; e < 256; ++e) scales[static_cast<size_t>(e)] = HalfScaleOfE8M0(e);
  return scales;
}();

struct MXFP4Blocks : SmallBlocks<17> {
  using Scales = E2M1;
  static HWY_INLINE Scales Open(const uint8_t* block) {
    return E2M1{hn::Set(D(), kHalfScales[block[0]])};
  }
  template <int kRun>
  static HWY_INLINE void Decode(const uint8_t* block, const Scales& d, int /*step*/,
                                V (&out)[kRunVectors]) {
    for (int i = 0; i < kRunVectors; ++i) out[i] = d.At(NibblesOfBlock(block + 1, i));
  }
};

struct Q5_0Blocks : SmallBlocks<22> {
  using Scales = V;
  static HWY_INLINE Scales Open(const uint8_t* block) { return Half(block); }
  template <int kRun>
  static HWY_INLINE void Decode(const uint8_t* block, const Scales& d, int /*step*/,
                                V (&out)[kRunVectors]) {
    const uint32_t fifth = Word(block + 2);
    for (int i = 0; i < kRunVectors; ++i) {
      const VI q = hn::Or(NibblesOfBlock(block + 6, i), FifthBitsOfBlock(fifth, i));
      out[i] = hn::Mul(Float(hn::Sub(q, hn::Set(DI(), 16))), d);
    }
  }
};

struct Q5_1Blocks : SmallBlocks<24> {
  struct Scales {
    V d, m;
  };
  static HWY_INLINE Scales Open(const uint8_t* block) { return {Half(block), Half(block + 2)}; }
  template <int kRun>
  static HWY_INLINE void Decode(const uint8_t* block, const Scales& s, int /*step*/,
                                V (&out)[kRunVectors]) {
    const uint32_t fifth = Word(block + 4);
    for (int i = 0; i < kRunVectors; ++i) {
      const VI q = hn::Or(NibblesOfBlock(block + 8, i), FifthBitsOfBlock(fifth, i));
      out[i] = hn::MulAdd(Float(q), s.d, s.m);
    }
  }
};

// Factors of the eight runs of Q4_K and Q5_K: scales, then minima, which are subtracted.
struct RunScales {
  HWY_ALIGN float values[16];

  HWY_INLINE V Scale(int run) const { return hn::Set(D(), values[run]); }
  HWY_INLINE V Minimum(int run) const { return hn::Set(D(), values[8 + run]); }
};

// UnpackRunFactors (base/quantized_block.h), four bytes at a time.
HWY_INLINE RunScales OpenRuns(const uint8_t* block) {
  const uint32_t scales = Word(block + 4), minima = Word(block + 8), rest = Word(block + 12);
  const uint32_t factors[4] = {
      scales & 0x3f3f3f3fu, (rest & 0x0f0f0f0fu) | (scales >> 2 & 0x30303030u),
      minima & 0x3f3f3f3fu, (rest >> 4 & 0x0f0f0f0fu) | (minima >> 2 & 0x30303030u)};
  const auto* bytes = reinterpret_cast<const uint8_t*>(factors);
  const V d = Half(block), minus_dmin = hn::Neg(Half(block + 2));
  RunScales out;
  for (int i = 0; i < 16; i += kLanes) {
    V factor = i < 8 ? d : minus_dmin;
    if constexpr (kLanes == 16) factor = hn::IfThenElse(hn::FirstN(D(), 8), d, minus_dmin);
    hn::Store(hn::Mul(Float(Bytes(bytes + i)), factor), D(), out.values + i);
  }
  return out;
}

// Steps of Q4_K and Q5_K are the two runs that share 32 bytes of nibbles.
struct Q4_KBlocks {
  static constexpr int kBytes = 144, kSteps = 4, kStepRuns = 2;
  using Scales = RunScales;
  static HWY_INLINE Scales Open(const uint8_t* block) { return OpenRuns(block); }
  template <int kRun>
  static HWY_INLINE void Decode(const uint8_t* block, const Scales& s, int step,
                                V (&out)[kRunVectors]) {
    const Affine values{s.Scale(2 * step + kRun), s.Minimum(2 * step + kRun)};
    const uint8_t* nibbles = block + 16 + step * kRunElements;
    for (int i = 0; i < kRunVectors; ++i) out[i] = values.At(NibblesOfPair<kRun>(nibbles, i));
  }
};

struct Q5_KBlocks {
  static constexpr int kBytes = 176, kSteps = 4, kStepRuns = 2;
  using Scales = RunScales;
  static HWY_INLINE Scales Open(const uint8_t* block) { return OpenRuns(block); }
  template <int kRun>
  static HWY_INLINE void Decode(const uint8_t* block, const Scales& s, int step,
                                V (&out)[kRunVectors]) {
    const V scale = s.Scale(2 * step + kRun), minimum = s.Minimum(2 * step + kRun);
    const uint8_t* nibbles = block + 48 + step * kRunElements;
    const VI bit = hn::Set(DI(), 1 << (2 * step + kRun));
    for (int i = 0; i < kRunVectors; ++i) {
      const auto fifth = hn::TestBit(Bytes(block + 16 + i * kLanes), bit);
      const VI q =
          hn::Or(NibblesOfPair<kRun>(nibbles, i), hn::IfThenElseZero(fifth, hn::Set(DI(), 16)));
      out[i] = hn::MulAdd(Float(q), scale, minimum);
    }
  }
};

// A step of Q6_K is half a block: four runs that share 32 bytes of upper pairs.
struct Q6_KBlocks {
  static constexpr int kBytes = 210, kSteps = 2, kStepRuns = 4;
  struct Scales {
    HWY_ALIGN float values[16];
  };
  static HWY_INLINE Scales Open(const uint8_t* block) {
    const V d = Half(block + 208);
    Scales out;
    for (int i = 0; i < 16; i += kLanes) {
      hn::Store(hn::Mul(Float(SignedBytes(block + 192 + i)), d), D(), out.values + i);
    }
    return out;
  }
  template <int kRun>
  static HWY_INLINE void Decode(const uint8_t* block, const Scales& s, int step,
                                V (&out)[kRunVectors]) {
    const uint8_t* low = block + step * 64 + kRun % 2 * kRunElements;
    const uint8_t* high = block + 128 + step * kRunElements;
    for (int i = 0; i < kRunVectors; ++i) {
      VI pairs = Bytes(high + i * kLanes);
      if constexpr (kRun < 2) pairs = hn::ShiftLeft < kRun < 2 ? 4 - 2 * kRun : 0 > (pairs);
      if constexpr (kRun == 3) pairs = hn::ShiftRight<2>(pairs);
      const VI q = hn::Or(NibblesOfPair<kRun / 2>(low, i), Bits(pairs, 0x30));
      const float scale = s.values[step * 8 + (kRun * kRunElements + i * kLanes) / 16];
      out[i] = hn::Mul(Float(hn::Sub(q, hn::Set(DI(), 32))), hn::Set(D(), scale));
    }
  }
};

template <class Blocks>
inline constexpr int kElementsOf = Blocks::kSteps* Blocks::kStepRuns* kRunElements;

// action.Run<Blocks>() with the struct of `dtype`, which is quantised.
template <class Action>
HWY_INLINE void ForBlocksOf(DType dtype, const Action& action) {
  switch (dtype) {
    case DType::kQ8_0:
      return action.template Run<Q8_0Blocks>();
    case DType::kQ4_0:
      return action.template Run<Q4_0Blocks>();
    case DType::kQ4_1:
      return action.template Run<Q4_1Blocks>();
    case DType::kQ5_0:
      return action.template Run<Q5_0Blocks>();
    case DType::kQ5_1:
      return action.template Run<Q5_1Blocks>();
    case DType::kQ4_K:
      return action.template Run<Q4_KBlocks>();
    case DType::kQ5_K:
      return action.template Run<Q5_KBlocks>();
    case DType::kQ6_K:
      return action.template Run<Q6_KBlocks>();
    default:
      return action.template Run<MXFP4Blocks>();
  }
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace blocks
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();
#endif

#endif
