#include "kernels/quantize/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "base/quantized_block.h"
#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

struct Vector {
  DType dtype;
  std::vector<std::byte> blocks;
  std::vector<float> values;
};

std::vector<std::byte> FromHex(const std::string& text) {
  std::vector<std::byte> bytes(text.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

// Lines of tests/data/quantize, made with the `gguf` Python package.
std::vector<Vector> ReadVectors(const char* file) {
  std::ifstream in(std::string(NPUMOE_SOURCE_DIR "/tests/data/quantize/") + file);
  std::vector<Vector> vectors;
  std::string name, blocks, values;
  while (in >> name >> blocks >> values) {
    Vector& v = vectors.emplace_back();
    v.dtype = ParseAnyDType(name).value();
    v.blocks = FromHex(blocks);
    const std::vector<std::byte> bytes = FromHex(values);
    v.values.resize(bytes.size() / sizeof(float));
    std::memcpy(v.values.data(), bytes.data(), bytes.size());
  }
  EXPECT_GT(vectors.size(), 100u) << file;
  return vectors;
}

// Same bits, or both NaN.
void ExpectSameFloats(std::span<const float> actual, std::span<const float> expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    ASSERT_EQ(std::memcmp(&actual[i], &expected[i], sizeof(float)), 0)
        << i << ": " << actual[i] << ", expected " << expected[i];
  }
}

TEST(DecodeBlocksReference, GivesTheBitsOfTheGgufPackage) {
  for (const Vector& v : ReadVectors("decoded.txt")) {
    SCOPED_TRACE(Name(v.dtype));
    std::vector<float> values(v.values.size());
    DecodeBlocksReference(v.dtype, v.blocks, values);
    ExpectSameFloats(values, v.values);
  }
}

TEST(DecodeBlocks, GivesTheBitsOfTheGgufPackageOnEveryTarget) {
  const std::vector<Vector> vectors = ReadVectors("decoded.txt");
  testing::OnEveryTarget([&] {
    for (const Vector& v : vectors) {
      SCOPED_TRACE(Name(v.dtype));
      std::vector<float> values(v.values.size());
      DecodeBlocks(v.dtype, v.blocks, values);
      ExpectSameFloats(values, v.values);
    }
  });
}

// Bytes of any kind, scales among them, in a buffer of exactly their size: sanitizers see a read
// beyond it.
TEST(DecodeBlocks, EqualsTheReferenceForAnyBytesAtAnyAddress) {
  std::mt19937_64 random(1);
  for (const DType dtype : testing::kQuantizedTypes) {
    SCOPED_TRACE(Name(dtype));
    const size_t size = 64 * BlockBytes(dtype);
    std::vector<std::byte> bytes(size + 1);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random());
    const auto blocks = std::span(bytes).subspan(1);
    std::vector<float> expected(static_cast<size_t>(64 * BlockElements(dtype)));
    std::vector<float> actual(expected.size());
    DecodeBlocksReference(dtype, blocks, expected);
    testing::OnEveryTarget([&] {
      DecodeBlocks(dtype, blocks, actual);
      ExpectSameFloats(actual, expected);
    });
  }
}

TEST(DecodeBlocks, AcceptsNoBlocks) {
  for (const DType dtype : testing::kQuantizedTypes) DecodeBlocks(dtype, {}, {});
}

std::vector<std::byte> Encoded(DType dtype, std::span<const float> values) {
  std::vector<std::byte> blocks(BytesOf(dtype, static_cast<int64_t>(values.size())));
  EncodeBlocks(dtype, values, blocks);
  return blocks;
}

double MeanSquaredError(DType dtype, std::span<const float> values) {
  std::vector<float> decoded(values.size());
  DecodeBlocksReference(dtype, Encoded(dtype, values), decoded);
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum += std::pow(double{decoded[i]} - double{values[i]}, 2);
  }
  return sum / static_cast<double>(values.size());
}

std::vector<float> NormalFloats(size_t count, uint64_t seed, double deviation) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0.0, deviation);
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(normal(random));
  return values;
}

TEST(EncodeBlocks, GivesTheBytesOfTheGgufPackage) {
  for (const Vector& v : ReadVectors("encoded.txt")) {
    SCOPED_TRACE(Name(v.dtype));
    EXPECT_EQ(Encoded(v.dtype, v.values), v.blocks);
  }
}

TEST(EncodeBlocks, MakesThreeTypes) {
  for (const DType dtype : testing::kQuantizedTypes) {
    EXPECT_EQ(CanEncode(dtype),
              dtype == DType::kQ8_0 || dtype == DType::kQ4_0 || dtype == DType::kQ4_K);
  }
  EXPECT_FALSE(CanEncode(DType::kF16));
}

// Blocks whose largest factors are 63 and whose runs use their whole range: the search finds them
// again, up to the rounding of its sums.
TEST(EncodeBlocks, FindsTheQ4_KBlockThatValuesCameFrom) {
  std::mt19937 random(6);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::vector<uint8_t> block(BlockBytes(DType::kQ4_K));
    for (uint8_t& byte : block) byte = static_cast<uint8_t>(random());
    const uint16_t halves[2] = {F16FromF32(0.01f), F16FromF32(0.02f)};
    std::memcpy(block.data(), halves, sizeof(halves));
    RunFactors factors;
    for (size_t r = 0; r < 8; ++r) {
      factors.scales[r] = static_cast<uint8_t>(63 - r * 5);
      factors.minima[r] = static_cast<uint8_t>(63 - random() % 8 * (r > 0));
      block[16 + r / 2 * 32] = 0x00;  // the least and the largest q of both runs of a pair
      block[17 + r / 2 * 32] = 0xff;
    }
    PackRunFactors(factors, block.data() + 4);
    std::vector<float> values(256);
    DecodeBlocksReference(DType::kQ4_K, std::as_bytes(std::span(block)), values);
    EXPECT_LT(MeanSquaredError(DType::kQ4_K, values), 1e-8);
  }
}

// Independent of x, a uniform quantiser with step h has the mean squared error h^2 / 12. A run of
// 32 normal numbers spans about 4.1 deviations: fifteen steps of 0.27 give 0.0062 deviations^2 if
// nothing is clipped and scales are exact. A search that is worth its time stays below.
TEST(EncodeBlocks, Q4_KOfNormalNumbersIsBetterThanEvenSteps) {
  EXPECT_LT(MeanSquaredError(DType::kQ4_K, NormalFloats(256 * 256, 2, 1.0)), 0.0062);
}

TEST(EncodeBlocks, Q4_KServesRunsOfUnequalMagnitudeAndSign) {
  for (const float offset : {-3.0f, 0.0f, 3.0f}) {
    std::vector<float> values = NormalFloats(256 * 8, 3, 1.0);
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = (values[i] + offset) * static_cast<float>(1 + i / 32 % 8);
    }
    double power = 0;
    for (const float v : values) power += double{v} * double{v};
    power /= static_cast<double>(values.size());
    EXPECT_LT(MeanSquaredError(DType::kQ4_K, values), 0.01 * power) << offset;
  }
}

TEST(EncodeBlocks, GivesFiniteValuesForExtremeOnes) {
  for (const float magnitude : {0.0f, 1e-45f, 1e-38f, 1e-8f, 6e4f}) {
    for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
      std::vector<float> values = NormalFloats(256, 4, 0.2);
      for (float& v : values) v *= magnitude;
      std::vector<float> decoded(values.size());
      DecodeBlocksReference(dtype, Encoded(dtype, values), decoded);
      for (const float v : decoded) {
        ASSERT_TRUE(std::isfinite(v)) << Name(dtype) << " " << magnitude;
        ASSERT_LE(std::fabs(v), magnitude * 2) << Name(dtype) << " " << magnitude;
      }
    }
  }
}

TEST(RunFactors, SurvivePackingAndUnpacking) {
  std::mt19937 random(5);
  RunFactors factors;
  for (size_t i = 0; i < 8; ++i) {
    factors.scales[i] = static_cast<uint8_t>(random() & 63);
    factors.minima[i] = static_cast<uint8_t>(random() & 63);
  }
  uint8_t packed[12];
  PackRunFactors(factors, packed);
  const RunFactors again = UnpackRunFactors(packed);
  EXPECT_EQ(again.scales, factors.scales);
  EXPECT_EQ(again.minima, factors.minima);
}

}  // namespace
}  // namespace npumoe
