#include "base/quantized_block.h"

#include <cstddef>

#include "base/check.h"

namespace npumoe {
namespace {

constexpr int kRun = 32;  // values of a small block, and of a run of a K type

float HalfAt(const uint8_t* bytes) {
  return F32FromF16(static_cast<uint16_t>(bytes[0] | bytes[1] << 8));
}

// Element i of 16 bytes whose low nibbles come first.
int NibbleAt(const uint8_t* bytes, int i) { return i < 16 ? bytes[i] & 15 : bytes[i - 16] >> 4; }

int BitAt(const uint8_t* bytes, int i) { return bytes[i / 8] >> (i % 8) & 1; }

void DecodeQ8_0(const uint8_t* block, float* out) {
  const float d = HalfAt(block);
  for (int i = 0; i < kRun; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

void DecodeQ4_0(const uint8_t* block, float* out) {
  const float d = HalfAt(block);
  for (int i = 0; i < kRun; ++i) out[i] = d * static_cast<float>(NibbleAt(block + 2, i) - 8);
}

void DecodeQ4_1(const uint8_t* block, float* out) {
  const float d = HalfAt(block), m = HalfAt(block + 2);
  for (int i = 0; i < kRun; ++i) out[i] = d * static_cast<float>(NibbleAt(block + 4, i)) + m;
}

void DecodeQ5_0(const uint8_t* block, float* out) {
  const float d = HalfAt(block);
  for (int i = 0; i < kRun; ++i) {
    const int q = NibbleAt(block + 6, i) | BitAt(block + 2, i) << 4;
    out[i] = d * static_cast<float>(q - 16);
  }
}

void DecodeQ5_1(const uint8_t* block, float* out) {
  const float d = HalfAt(block), m = HalfAt(block + 2);
  for (int i = 0; i < kRun; ++i) {
    const int q = NibbleAt(block + 8, i) | BitAt(block + 4, i) << 4;
    out[i] = d * static_cast<float>(q) + m;
  }
}

// Q4_K, and Q5_K when `fifth` points to its 32 bytes of fifth bits: bit r of byte i belongs to
// value i of run r. Two runs share 32 bytes of nibbles, the first has the low ones.
void DecodeRuns(const uint8_t* block, const uint8_t* fifth, const uint8_t* nibbles, float* out) {
  const float d = HalfAt(block), dmin = HalfAt(block + 2);
  const RunFactors factors = UnpackRunFactors(block + 4);
  for (int run = 0; run < 8; ++run) {
    const auto r = static_cast<size_t>(run);
    const float scale = d * static_cast<float>(factors.scales[r]);
    const float minimum = dmin * static_cast<float>(factors.minima[r]);
    for (int i = 0; i < kRun; ++i) {
      int q = nibbles[run / 2 * kRun + i] >> (run % 2 * 4) & 15;
      if (fifth != nullptr) q |= (fifth[i] >> run & 1) << 4;
      out[run * kRun + i] = scale * static_cast<float>(q) - minimum;
    }
  }
}

void DecodeQ4_K(const uint8_t* block, float* out) { DecodeRuns(block, nullptr, block + 16, out); }
void DecodeQ5_K(const uint8_t* block, float* out) {
  DecodeRuns(block, block + 16, block + 48, out);
}

// Halves of 128 values. Of each, 64 bytes hold the low nibbles: values 0..63 in the low, 64..127
// in the high ones; 32 bytes hold four upper pairs each: of values i, 32 + i, 64 + i, 96 + i.
void DecodeQ6_K(const uint8_t* block, float* out) {
  const float d = HalfAt(block + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, quarter = i % 128 / kRun;
    const int low = block[half * 64 + i % 64] >> (quarter / 2 * 4) & 15;
    const int high = block[128 + half * kRun + i % kRun] >> (quarter * 2) & 3;
    const float scale = d * static_cast<float>(static_cast<int8_t>(block[192 + i / 16]));
    out[i] = scale * static_cast<float>((low | high << 4) - 32);
  }
}

void DecodeMXFP4(const uint8_t* block, float* out) {
  const float half_scale = HalfScaleOfE8M0(block[0]);
  for (int i = 0; i < kRun; ++i) {
    const auto nibble = static_cast<size_t>(NibbleAt(block + 1, i));
    out[i] = half_scale * static_cast<float>(kTwiceE2M1[nibble]);
  }
}

}  // namespace

void DecodeBlock(DType dtype, const std::byte* block, float* out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(block);
  switch (dtype) {
    case DType::kQ8_0:
      return DecodeQ8_0(bytes, out);
    case DType::kQ4_0:
      return DecodeQ4_0(bytes, out);
    case DType::kQ4_1:
      return DecodeQ4_1(bytes, out);
    case DType::kQ5_0:
      return DecodeQ5_0(bytes, out);
    case DType::kQ5_1:
      return DecodeQ5_1(bytes, out);
    case DType::kQ4_K:
      return DecodeQ4_K(bytes, out);
    case DType::kQ5_K:
      return DecodeQ5_K(bytes, out);
    case DType::kQ6_K:
      return DecodeQ6_K(bytes, out);
    case DType::kMXFP4:
      return DecodeMXFP4(bytes, out);
    default:
      NPUMOE_CHECK(false && "a quantised type");
  }
}

RunFactors UnpackRunFactors(const uint8_t* packed) {
  RunFactors factors{};
  for (size_t i = 0; i < 4; ++i) {
    factors.scales[i] = packed[i] & 63;
    factors.minima[i] = packed[4 + i] & 63;
    factors.scales[4 + i] = static_cast<uint8_t>((packed[8 + i] & 15) | (packed[i] >> 6 << 4));
    factors.minima[4 + i] = static_cast<uint8_t>((packed[8 + i] >> 4) | (packed[4 + i] >> 6 << 4));
  }
  return factors;
}

void PackRunFactors(const RunFactors& factors, uint8_t* packed) {
  const auto& scales = factors.scales;
  const auto& minima = factors.minima;
  for (size_t i = 0; i < 4; ++i) {
    packed[i] = static_cast<uint8_t>((scales[i] & 63) | (scales[4 + i] >> 4 << 6));
    packed[4 + i] = static_cast<uint8_t>((minima[i] & 63) | (minima[4 + i] >> 4 << 6));
    packed[8 + i] = static_cast<uint8_t>((scales[4 + i] & 15) | (minima[4 + i] & 15) << 4);
  }
}

}  // namespace npumoe
