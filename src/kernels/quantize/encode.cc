// Q8_0 and Q4_0, to the bytes that the `gguf` Python package gives. No product may be fused with a
// sum here: CMakeLists.txt forbids it to the compiler, so that every machine writes the same bytes.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/quantize/encode_q4_k.h"
#include "kernels/quantize/quantize.h"

namespace npumoe {
namespace {

constexpr int kElements = 32;

void StoreHalf(float value, uint8_t* bytes) {
  const uint16_t bits = F16FromF32(value);
  bytes[0] = static_cast<uint8_t>(bits);
  bytes[1] = static_cast<uint8_t>(bits >> 8);
}

// 1 / d; 0 where that is no finite number. Such a d is 0 in fp16.
float Inverse(float d) {
  const float inverse = d == 0.0f ? 0.0f : 1.0f / d;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

// Nearest integer, ties away from zero; |value| < 2^24.
int Rounded(float value) {
  const float magnitude = std::fabs(value);
  const int floor = static_cast<int>(magnitude);
  const int rounded = floor + (magnitude - static_cast<float>(floor) >= 0.5f ? 1 : 0);
  return value < 0.0f ? -rounded : rounded;
}

void EncodeQ8_0(const float* values, uint8_t* block) {
  float largest = 0.0f;
  for (int i = 0; i < kElements; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float d = largest / 127.0f;
  const float inverse = Inverse(d);
  StoreHalf(d, block);
  for (int i = 0; i < kElements; ++i) {
    block[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(Rounded(values[i] * inverse)));
  }
}

// The value of largest magnitude becomes -8, the end of the range that reaches further.
void EncodeQ4_0(const float* values, uint8_t* block) {
  float extreme = values[0];
  for (int i = 1; i < kElements; ++i) {
    if (std::fabs(values[i]) > std::fabs(extreme)) extreme = values[i];
  }
  const float d = extreme / -8.0f;
  const float inverse = Inverse(d);
  StoreHalf(d, block);
  const auto nibble = [&](int i) {
    return std::min(15, static_cast<int>(values[i] * inverse + 8.5f));
  };
  for (int i = 0; i < kElements / 2; ++i) {
    block[2 + i] = static_cast<uint8_t>(nibble(i) | nibble(i + kElements / 2) << 4);
  }
}

void EncodeBlock(DType dtype, const float* values, uint8_t* block) {
  switch (dtype) {
    case DType::kQ8_0:
      return EncodeQ8_0(values, block);
    case DType::kQ4_0:
      return EncodeQ4_0(values, block);
    default:
      return EncodeQ4_K(values, block);
  }
}

}  // namespace

bool CanEncode(DType dtype) {
  return dtype == DType::kQ8_0 || dtype == DType::kQ4_0 || dtype == DType::kQ4_K;
}

void EncodeBlocks(DType dtype, std::span<const float> values, std::span<std::byte> blocks) {
  NPUMOE_CHECK(CanEncode(dtype));
  NPUMOE_CHECK(blocks.size() == BytesOf(dtype, static_cast<int64_t>(values.size())));
  const auto elements = static_cast<size_t>(BlockElements(dtype));
  auto* block = reinterpret_cast<uint8_t*>(blocks.data());
  for (size_t i = 0; i < values.size(); i += elements, block += BlockBytes(dtype)) {
    EncodeBlock(dtype, values.data() + i, block);
  }
}

}  // namespace npumoe
