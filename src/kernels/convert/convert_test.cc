#include "kernels/convert/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/quantize/quantize.h"
#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

std::vector<uint16_t> EveryHalf() {
  std::vector<uint16_t> bits(1 << 16);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  return bits;
}

// Same bits, or both NaN: instruction sets differ in the payload they keep.
void ExpectSameFloats(std::span<const float> actual, std::span<const float> expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    ASSERT_EQ(std::memcmp(&actual[i], &expected[i], sizeof(float)), 0)
        << i << ": " << actual[i] << ", expected " << expected[i];
  }
}

TEST(Convert, WidensEveryHalfAndEveryBfloat16ToItsExactValue) {
  const std::vector<uint16_t> bits = EveryHalf();
  std::vector<float> expected(bits.size());
  std::vector<float> actual(bits.size());
  testing::OnEveryTarget([&] {
    F16ToF32Reference(bits, expected.data());
    F16ToF32(bits, actual.data());
    ExpectSameFloats(actual, expected);
    BF16ToF32Reference(bits, expected.data());
    BF16ToF32(bits, actual.data());
    ExpectSameFloats(actual, expected);
  });
}

// Every half, its neighbours in fp32, and the ties between neighbouring halves.
std::vector<float> FloatsAroundEveryHalf() {
  std::vector<float> values;
  for (const uint16_t bits : EveryHalf()) {
    const float value = F32FromF16(bits);
    if (!std::isfinite(value)) continue;
    const float next = F32FromF16(static_cast<uint16_t>(bits + 1));
    const float tie = std::isfinite(next) ? value + (next - value) / 2 : value;
    for (const float v : {value, tie}) {
      values.insert(values.end(), {v, std::nextafter(v, 1e30f), std::nextafter(v, -1e30f)});
    }
  }
  values.insert(values.end(), {65519.9f, 65520.0f, 1e30f, -1e30f, HUGE_VALF, -HUGE_VALF, 1e-30f});
  return values;
}

TEST(Convert, NarrowsToTheNearestHalfTiesToEven) {
  const std::vector<float> values = FloatsAroundEveryHalf();
  std::vector<uint16_t> expected(values.size());
  std::vector<uint16_t> actual(values.size());
  F32ToF16Reference(values, expected.data());
  testing::OnEveryTarget([&] {
    F32ToF16(values, actual.data());
    EXPECT_EQ(actual, expected);
  });
}

TEST(Convert, RoundsInPlaceToTheHalfThatNarrowingGives) {
  std::vector<float> values = testing::RandomFloats(1001, 1, 100.0);
  std::vector<float> expected = values;
  for (float& v : expected) v = F32FromF16(F16FromF32(v));
  testing::OnEveryTarget([&] {
    std::vector<float> actual = values;
    RoundToF16(actual);
    ExpectSameFloats(actual, expected);
  });
}

TEST(Convert, ReadsAPartOfATensorOfAnyFloatType) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const auto tensor = testing::RandomWeights(dtype, {3, 37}, 2);
    std::vector<float> all(111);
    ToF32(tensor.view, 0, all);
    std::vector<float> part(50);
    ToF32(tensor.view, 41, part);
    ExpectSameFloats(part, std::span(all).subspan(41, 50));
  }
}

TEST(Convert, ReadsWholeBlocksOfAnyQuantisedType) {
  for (const DType dtype : testing::kQuantizedTypes) {
    const auto tensor = testing::RandomWeights(dtype, {3, 512}, 3);
    std::vector<float> all(3 * 512);
    DecodeBlocksReference(dtype, tensor.bytes, all);
    std::vector<float> part(768);
    ToF32(tensor.view, 256, part);
    ExpectSameFloats(part, std::span(all).subspan(256, 768));
  }
}

}  // namespace
}  // namespace npumoe
