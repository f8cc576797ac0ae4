// Weight matrices in every format, from fixed seeds.
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "graph/expert_program.h"
#include "graph/testing/sample_graphs.h"
#include "graph/weights/matrix_encoder.h"

namespace npumoe::testing {

inline constexpr WeightFormat kAllFormats[] = {
    WeightFormat::kF16,         WeightFormat::kInt8, WeightFormat::kInt8Block32,
    WeightFormat::kInt4Block32, WeightFormat::kLut4, WeightFormat::kLut6};

// About normal: the sum of four uniform numbers; standard deviation `scale`.
inline std::vector<float> NormalValues(int64_t count, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = 0;
    // Uniform in [-1, 1) has the variance 1/3.
    for (int i = 0; i < 4; ++i) value += static_cast<float>(random()) * 0x1p-31f - 1.0f;
    value *= scale * std::sqrt(3.0f) / 2.0f;
  }
  return values;
}

inline MatrixSource SourceOfValues(int64_t out, int64_t in, std::vector<float> values,
                                   const std::string& what = "matrix") {
  NPUMOE_CHECK(static_cast<int64_t>(values.size()) == out * in);
  return {out, in, what, [in, values = std::move(values)](int64_t first, std::span<float> rows) {
            std::copy_n(values.begin() + first * in, rows.size(), rows.begin());
            return OkStatus();
          }};
}

inline WeightMatrix EncodedMatrix(WeightFormat format, int64_t out, int64_t in, uint32_t seed) {
  const float scale = 1 / std::sqrt(static_cast<float>(in));
  Result<MatrixEncoder> encoder =
      MatrixEncoder::Create(format, SourceOfValues(out, in, NormalValues(out * in, seed, scale)));
  NPUMOE_CHECK(encoder.ok());
  return encoder->Matrix();
}

// As RandomSlots of sample_graphs.h, in a format.
inline std::vector<ExpertSlot> EncodedSlots(WeightFormat format, ExpertSizes sizes,
                                            const std::vector<int64_t>& capacities) {
  std::vector<ExpertSlot> slots;
  for (size_t i = 0; i < capacities.size(); ++i) {
    const auto expert = static_cast<int>(3 + 7 * i);
    const auto seed = static_cast<uint32_t>(100 * expert);
    slots.push_back({expert, capacities[i],
                     EncodedMatrix(format, sizes.intermediate, sizes.hidden, seed),
                     EncodedMatrix(format, sizes.intermediate, sizes.hidden, seed + 1),
                     EncodedMatrix(format, sizes.hidden, sizes.intermediate, seed + 2)});
  }
  return slots;
}

inline Graph EncodedExpertGraph(GraphForm form, WeightFormat format, ExpertSizes sizes,
                                const std::vector<int64_t>& capacities,
                                const std::string& name = "main") {
  Result<Graph> graph = BuildExpertGraph(form, {sizes.hidden, sizes.intermediate},
                                         EncodedSlots(format, sizes, capacities), name);
  NPUMOE_CHECK(graph.ok());
  return *std::move(graph);
}

inline std::vector<std::byte> Produced(const WeightData& weight, size_t bytes) {
  std::vector<std::byte> produced(bytes);
  NPUMOE_CHECK(weight.produce(produced).ok());
  return produced;
}

inline std::vector<float> ProducedHalves(const WeightData& weight, int64_t count) {
  const std::vector<std::byte> bytes = Produced(weight, static_cast<size_t>(2 * count));
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + 2 * i, sizeof bits);
    values[i] = F32FromF16(bits);
  }
  return values;
}

// What a matrix stands for, by the table of weight_format.h, element by element, rounded to fp16.
inline std::vector<float> MaterialisedValues(const WeightMatrix& matrix, int64_t out, int64_t in) {
  if (matrix.format == WeightFormat::kF16) return ProducedHalves(matrix.values, out * in);
  const bool block = ScaleBlock(matrix.format) != 0;
  const std::vector<float> scales =
      ProducedHalves(matrix.scales, ScaleCount(matrix.format, out, in));
  const DType type = ValuesType(matrix.format);
  const std::vector<std::byte> bytes = Produced(matrix.values, BytesOf(type, out * in));
  // Bit by bit, lowest first.
  const auto width = static_cast<int64_t>(MeanBitsPerElement(type));
  const auto number = [&](int64_t index) {
    int value = 0;
    for (int64_t bit = 0; bit < width; ++bit) {
      const int64_t at = index * width + bit;
      const int byte = std::to_integer<int>(bytes[static_cast<size_t>(at / 8)]);
      value |= ((byte >> (at % 8)) & 1) << bit;
    }
    const bool is_signed = type == DType::kI4 || type == DType::kI8;
    return is_signed && value >= 1 << (width - 1) ? value - (1 << width) : value;
  };
  std::vector<float> values(static_cast<size_t>(out * in));
  for (int64_t i = 0; i < out * in; ++i) {
    const int q = number(i);
    const auto scale = static_cast<size_t>(block ? i / 32 : i / in);
    const float value = TableEntries(matrix.format) > 0 ? scales[static_cast<size_t>(q)]
                                                        : scales[scale] * static_cast<float>(q);
    values[static_cast<size_t>(i)] = F32FromF16(F16FromF32(value));
  }
  return values;
}

}  // namespace npumoe::testing
