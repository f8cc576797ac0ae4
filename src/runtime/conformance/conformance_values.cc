#include "runtime/conformance/conformance_values.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "base/dtype.h"
#include "graph/weights/matrix_encoder.h"

namespace npumoe {
namespace {

// Steele, Lea and Flood, "Fast splittable pseudorandom number generators": the finaliser.
uint64_t Mixed(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

}  // namespace

float SeededNormal(uint64_t seed, int64_t index) {
  uint64_t bits = Mixed(Mixed(seed) + 0x9e3779b97f4a7c15ull * static_cast<uint64_t>(index + 1));
  // Four uniform numbers in [0, 1), of variance 1/12 each.
  float sum = 0;
  for (int i = 0; i < 4; ++i, bits >>= 16) sum += static_cast<float>(bits & 0xffff) * 0x1p-16f;
  return (sum - 2) * std::sqrt(3.0f);
}

std::vector<float> SeededHalves(int64_t count, uint64_t seed, float scale) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    values[static_cast<size_t>(i)] = F32FromF16(F16FromF32(scale * SeededNormal(seed, i)));
  }
  return values;
}

Result<WeightMatrix> SeededMatrix(WeightFormat format, MatrixShape shape, uint64_t seed) {
  MatrixSource source{shape.out, shape.in, "conformance matrix", {}};
  source.read = [shape, seed](int64_t first, std::span<float> rows) {
    const float scale = 1 / std::sqrt(static_cast<float>(shape.in));
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i] = scale * SeededNormal(seed, first * shape.in + static_cast<int64_t>(i));
    }
    return OkStatus();
  };
  NPUMOE_ASSIGN_OR_RETURN(const MatrixEncoder encoder,
                          MatrixEncoder::Create(format, std::move(source)));
  return encoder.Matrix();
}

WeightData SeededVector(uint64_t seed, float mean, float scale) {
  WeightData vector;
  vector.produce = [seed, mean, scale](std::span<std::byte> bytes) {
    for (size_t i = 0; i < bytes.size() / 2; ++i) {
      const uint16_t bits = F16FromF32(mean + scale * SeededNormal(seed, static_cast<int64_t>(i)));
      std::memcpy(&bytes[2 * i], &bits, sizeof bits);
    }
    return OkStatus();
  };
  return vector;
}

TensorView ViewOf(std::span<const uint16_t> halves, const Shape& shape) {
  return {DType::kF16, shape, reinterpret_cast<const std::byte*>(halves.data())};
}

std::vector<float> FloatsOf(std::span<const uint16_t> halves) {
  std::vector<float> values;
  values.reserve(halves.size());
  for (const uint16_t bits : halves) values.push_back(F32FromF16(bits));
  return values;
}

std::vector<float> ChannelsFirst(ConstMatrix rows) {
  std::vector<float> values;
  values.reserve(static_cast<size_t>(rows.rows * rows.columns));
  for (int64_t c = 0; c < rows.columns; ++c) {
    for (int64_t r = 0; r < rows.rows; ++r) values.push_back(rows.Row(r)[c]);
  }
  return values;
}

}  // namespace npumoe
