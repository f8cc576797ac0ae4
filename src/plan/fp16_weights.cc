#include "plan/fp16_weights.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "base/quantized_block.h"

namespace npumoe {
namespace {

// Weights converted at a time: the buffers stay in L1, and quantised blocks are whole.
constexpr size_t kBlock = 1024;
static_assert(kBlock % kMaxBlockElements == 0);

// Magnitudes from here on round to infinity in fp16 (65520, half a step above 65504), NaN included:
// bits of positive floats order like the floats.
constexpr uint32_t kOverflowBits = 0x477ff000;

// fp16 bits of a magnitude's fp32 bits below kOverflowBits, round to nearest even. fp16 has 10
// mantissa bits and exponent bias 15, fp32 23 and 127.
uint16_t NarrowedMagnitude(uint32_t bits) {
  // Normal numbers: rebias the exponent, then round away the 13 low mantissa bits; a tie goes to
  // the even neighbour because the kept low bit is added to just below half a step.
  constexpr uint32_t kRebias = (127u - 15u) << 23;
  const uint32_t normal = (bits - kRebias + 0xfffu + ((bits >> 13) & 1u)) >> 13;
  // Below 2^-14: adding 0.5 puts fp16's smallest step (2^-24) into the last mantissa bit of the
  // sum, so the addition itself rounds.
  constexpr uint32_t kHalf = 0x3f000000;
  const float sum = std::bit_cast<float>(bits) + 0.5f;
  const uint32_t subnormal = std::bit_cast<uint32_t>(sum) - kHalf;
  constexpr uint32_t kSmallestNormal = 113u << 23;  // 2^-14
  return static_cast<uint16_t>(bits < kSmallestNormal ? subnormal : normal);
}

float Widened(uint16_t bits, DType dtype) {
  return dtype == DType::kBF16 ? F32FromBF16(bits) : F32FromF16(bits);
}

// fp32 bits of source element i, so that the loops below need no branches.
struct FromF32 {
  const float* source;
  uint32_t operator()(size_t i) const { return std::bit_cast<uint32_t>(source[i]); }
};
struct FromBF16 {
  const uint16_t* source;
  uint32_t operator()(size_t i) const { return static_cast<uint32_t>(source[i]) << 16; }
};

// Returns whether all of [begin, begin + count) stay within the range of fp16.
template <class Source>
bool ConvertBlock(Source source, size_t begin, size_t count, uint16_t* out) {
  uint32_t largest = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t bits = source(begin + i);
    const uint32_t magnitude = bits & 0x7fffffffu;
    largest = std::max(largest, magnitude);
    out[i] = static_cast<uint16_t>(NarrowedMagnitude(magnitude) | (bits >> 16 & 0x8000u));
  }
  return largest < kOverflowBits;
}

bool CopyBlock(const uint16_t* source, size_t begin, size_t count, uint16_t* out) {
  constexpr uint16_t kExponent = 0x7c00;  // all ones: infinity or NaN
  bool finite = true;
  for (size_t i = 0; i < count; ++i) {
    out[i] = source[begin + i];
    finite &= (out[i] & kExponent) != kExponent;
  }
  return finite;
}

// `begin` and `count` are whole numbers of the type's blocks.
bool DecodeAndConvertBlock(const TensorView& weights, size_t begin, size_t count, uint16_t* out) {
  float values[kBlock];
  const auto elements = static_cast<size_t>(BlockElements(weights.dtype));
  const size_t block_bytes = BlockBytes(weights.dtype);
  for (size_t i = 0; i < count; i += elements) {
    DecodeBlock(weights.dtype, weights.data + (begin + i) / elements * block_bytes, values + i);
  }
  return ConvertBlock(FromF32{values}, 0, count, out);
}

bool ReadBlock(const TensorView& weights, size_t begin, size_t count, uint16_t* out) {
  if (weights.dtype == DType::kF32) {
    return ConvertBlock(FromF32{weights.as<float>()}, begin, count, out);
  }
  if (weights.dtype == DType::kBF16) {
    return ConvertBlock(FromBF16{weights.as<uint16_t>()}, begin, count, out);
  }
  if (IsQuantized(weights.dtype)) return DecodeAndConvertBlock(weights, begin, count, out);
  return CopyBlock(weights.as<uint16_t>(), begin, count, out);
}

float Value(const TensorView& weights, size_t i) {
  if (IsQuantized(weights.dtype)) {
    float values[kMaxBlockElements];
    const auto elements = static_cast<size_t>(BlockElements(weights.dtype));
    const size_t block = i / elements;
    DecodeBlock(weights.dtype, weights.data + block * BlockBytes(weights.dtype), values);
    return values[i % elements];
  }
  return weights.dtype == DType::kF32 ? weights.as<float>()[i]
                                      : Widened(weights.as<uint16_t>()[i], weights.dtype);
}

Status RangeError(const TensorView& weights, const std::string& what, size_t begin, size_t count) {
  size_t i = begin;
  const auto fits = [&weights](size_t at) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(Value(weights, at)) & 0x7fffffffu;
    return magnitude < kOverflowBits;
  };
  while (i + 1 < begin + count && fits(i)) ++i;
  return Status(StatusCode::kNumeric,
                what + ": weight " + std::to_string(i) + " is " +
                    std::to_string(Value(weights, i)) +
                    ", NPU programs hold fp16 up to 65504; leave this expert to the CPU");
}

}  // namespace

Status WriteAsFp16(const TensorView& weights, const std::string& what, std::span<std::byte> bytes) {
  if (weights.dtype != DType::kF32 && weights.dtype != DType::kF16 &&
      weights.dtype != DType::kBF16 && !IsQuantized(weights.dtype)) {
    return Unsupported(what + ": has type " + Name(weights.dtype) +
                       ", programs are made from F32, F16, BF16 and quantised types");
  }
  const auto count = static_cast<size_t>(weights.shape.elements());
  NPUMOE_CHECK(bytes.size() == count * sizeof(uint16_t));
  uint16_t block[kBlock];
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t length = std::min(kBlock, count - begin);
    if (!ReadBlock(weights, begin, length, block)) {
      return RangeError(weights, what, begin, length);
    }
    std::memcpy(bytes.data() + begin * sizeof(uint16_t), block, length * sizeof(uint16_t));
  }
  return OkStatus();
}

}  // namespace npumoe
