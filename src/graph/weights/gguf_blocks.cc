// Blocks of GGUF as they are: only the order of integers and scales changes.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/packed_integers.h"
#include "graph/weights/matrix_encoder.h"

namespace npumoe {
namespace {

constexpr int64_t kBlock = 32;
constexpr size_t kScaleBytes = 2;  // fp16, before the integers in both types

const std::byte* BlockAt(const TensorView& blocks, int64_t index) {
  return blocks.data + static_cast<size_t>(index) * BlockBytes(blocks.dtype);
}

int64_t BlockCount(const TensorView& blocks) { return blocks.shape.elements() / kBlock; }

Status CopyInt8(const TensorView& blocks, std::span<std::byte> bytes) {
  for (int64_t b = 0; b < BlockCount(blocks); ++b) {
    std::memcpy(bytes.data() + b * kBlock, BlockAt(blocks, b) + kScaleBytes, kBlock);
  }
  return OkStatus();
}

// Q4_0: byte i of a block holds q of element i in its low half and of element i + 16 in its high
// half; the value is scale * (q - 8). q ^ 8 is q - 8 in two's complement.
Status CopyInt4(const TensorView& blocks, std::span<std::byte> bytes) {
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  for (int64_t b = 0; b < BlockCount(blocks); ++b) {
    const std::byte* halves = BlockAt(blocks, b) + kScaleBytes;
    for (int64_t i = 0; i < kBlock / 2; ++i) {
      const auto pair = std::to_integer<uint32_t>(halves[i]);
      WritePacked((pair & 15) ^ 8, b * kBlock + i, 4, bytes.data());
      WritePacked((pair >> 4) ^ 8, b * kBlock + kBlock / 2 + i, 4, bytes.data());
    }
  }
  return OkStatus();
}

// `steps` is the largest magnitude of an integer.
Status CopyScales(const TensorView& blocks, float steps, const std::string& what,
                  std::span<std::byte> bytes) {
  for (int64_t b = 0; b < BlockCount(blocks); ++b) {
    uint16_t scale;
    std::memcpy(&scale, BlockAt(blocks, b), sizeof scale);
    if (!(std::abs(F32FromF16(scale)) * steps < kF16FirstInfinite)) {
      return Status(StatusCode::kNumeric, what + ": the scale of elements " +
                                              std::to_string(b * kBlock) + " to " +
                                              std::to_string(b * kBlock + kBlock - 1) + " is " +
                                              std::to_string(F32FromF16(scale)) +
                                              "; products with its integers leave what fp16 holds");
    }
    std::memcpy(bytes.data() + static_cast<size_t>(b) * sizeof scale, &scale, sizeof scale);
  }
  return OkStatus();
}

}  // namespace

Result<WeightMatrix> TakeOverBlocks(const TensorView& blocks, const std::string& what) {
  const bool eight = blocks.dtype == DType::kQ8_0;
  if ((!eight && blocks.dtype != DType::kQ4_0) || blocks.empty() || blocks.shape.rank() != 2) {
    return Unsupported(what + " is " + Name(blocks.dtype) + " " + blocks.shape.ToString() +
                       "; a matrix of Q8_0 or Q4_0 is needed");
  }
  const float steps = eight ? 128 : 8;
  // Where they lie says which they are; a name may be that of several.
  const std::string identity =
      blocks.shape.ToString() + " at " + std::to_string(reinterpret_cast<uintptr_t>(blocks.data));
  return WeightMatrix(eight ? WeightFormat::kInt8Block32 : WeightFormat::kInt4Block32,
                      WeightData{{},
                                 [blocks, eight](std::span<std::byte> bytes) {
                                   return eight ? CopyInt8(blocks, bytes) : CopyInt4(blocks, bytes);
                                 },
                                 "values of " + identity},
                      WeightData{{},
                                 [blocks, steps, what](std::span<std::byte> bytes) {
                                   return CopyScales(blocks, steps, what, bytes);
                                 },
                                 "scales of " + identity});
}

}  // namespace npumoe
