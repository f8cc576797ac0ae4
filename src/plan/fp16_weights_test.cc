#include "plan/fp16_weights.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace npumoe {
namespace {

template <class T>
TensorView View(DType dtype, const std::vector<T>& values) {
  return {dtype,
          {static_cast<int64_t>(values.size())},
          reinterpret_cast<const std::byte*>(values.data())};
}

template <class T>
std::vector<uint16_t> Converted(DType dtype, const std::vector<T>& values) {
  std::vector<uint16_t> out(values.size());
  const Status status =
      WriteAsFp16(View(dtype, values), "w", std::as_writable_bytes(std::span(out)));
  EXPECT_TRUE(status.ok()) << status.message();
  return out;
}

template <class T>
std::string Refusal(DType dtype, const std::vector<T>& values) {
  std::vector<uint16_t> out(values.size());
  return WriteAsFp16(View(dtype, values), "layer 3, expert 7, gate",
                     std::as_writable_bytes(std::span(out)))
      .message();
}

TEST(Fp16Weights, RoundEveryBfloat16InRangeAsTheScalarConversionDoes) {
  std::vector<uint16_t> values;
  for (uint32_t bits = 0; bits < 65'536; ++bits) {
    const float value = F32FromBF16(static_cast<uint16_t>(bits));
    if (std::abs(value) < 65'520.0f) values.push_back(static_cast<uint16_t>(bits));
  }
  const auto converted = Converted(DType::kBF16, values);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(converted[i], F16FromF32(F32FromBF16(values[i]))) << std::hex << values[i];
  }
}

TEST(Fp16Weights, RoundFloatsAsTheScalarConversionDoes) {
  std::mt19937 random(17);
  std::vector<float> values = {0.0f,     -0.0f,    65'504.0f, 65'519.99f, 6.1035e-5f, 6.0976e-5f,
                               5.96e-8f, 2.98e-8f, 2.99e-8f,  1e-30f,     2049.0f,    2051.0f};
  while (values.size() < 200'000) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (std::abs(value) < 65'520.0f) values.push_back(value);
  }
  const auto converted = Converted(DType::kF32, values);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(converted[i], F16FromF32(values[i])) << values[i];
  }
}

TEST(Fp16Weights, StayAsTheyAreInFp16) {
  const std::vector<uint16_t> values = {0, 0x8000, 0x3c00, 0x7bff, 0x0001};
  EXPECT_EQ(Converted(DType::kF16, values), values);
}

TEST(Fp16Weights, MayGoToAnyAddress) {
  const std::vector<float> values = {1.0f, -2.0f};
  std::vector<std::byte> bytes(5);
  ASSERT_TRUE(WriteAsFp16(View(DType::kF32, values), "w", std::span(bytes).subspan(1)).ok());
  uint16_t second;
  std::memcpy(&second, bytes.data() + 3, sizeof(second));
  EXPECT_EQ(second, F16FromF32(-2.0f));
}

TEST(Fp16Weights, BeyondTheRangeAreRefusedWithNameAndElement) {
  std::vector<float> values(3000, 1.0f);
  values[2500] = -65'520.0f;
  const std::string text = Refusal(DType::kF32, values);
  EXPECT_NE(text.find("layer 3, expert 7, gate: weight 2500 is -65520"), std::string::npos) << text;
}

TEST(Fp16Weights, ThatAreNotNumbersAreRefusedInEveryType) {
  EXPECT_NE(Refusal(DType::kF32, std::vector<float>{0, NAN}).find("weight 1 is nan"),
            std::string::npos);
  EXPECT_NE(Refusal(DType::kBF16, std::vector<uint16_t>{0x7fc0}).find("weight 0 is nan"),
            std::string::npos);
  EXPECT_NE(Refusal(DType::kF16, std::vector<uint16_t>{0, 0xfc00}).find("weight 1 is -inf"),
            std::string::npos);
}

// 40 blocks of 32 with scale 2^-6 and 200 in the last: more than are converted at a time.
std::vector<uint8_t> Q8_0Blocks() {
  std::vector<uint8_t> blocks(40 * BlockBytes(DType::kQ8_0));
  std::mt19937 random(18);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const uint16_t scale = F16FromF32(i / 34 == 39 ? 200.0f : 0x1p-6f);
    blocks[i] = static_cast<uint8_t>(i % 34 < 2 ? scale >> (i % 34 * 8) : random());
  }
  return blocks;
}

TEST(Fp16Weights, RoundWhatQuantisedBlocksStandFor) {
  const std::vector<uint8_t> blocks = Q8_0Blocks();
  std::vector<uint16_t> converted(40 * 32);
  const TensorView weights{
      DType::kQ8_0, {40, 32}, reinterpret_cast<const std::byte*>(blocks.data())};
  ASSERT_TRUE(WriteAsFp16(weights, "w", std::as_writable_bytes(std::span(converted))).ok());
  for (size_t i = 0; i < converted.size(); ++i) {
    const float scale = i / 32 == 39 ? 200.0f : 0x1p-6f;
    const auto q = static_cast<int8_t>(blocks[i / 32 * 34 + 2 + i % 32]);
    ASSERT_EQ(converted[i], F16FromF32(scale * static_cast<float>(q))) << i;
  }
}

TEST(Fp16Weights, OfQuantisedBlocksBeyondTheRangeAreRefusedWithNameAndElement) {
  std::vector<uint8_t> blocks = Q8_0Blocks();
  const uint16_t scale = F16FromF32(1000.0f);
  std::memcpy(&blocks[35 * 34], &scale, sizeof(scale));
  for (size_t i = 0; i < 32; ++i) blocks[35 * 34 + 2 + i] = 1;
  blocks[35 * 34 + 2 + 5] = 100;
  std::vector<uint16_t> out(40 * 32);
  const TensorView weights{
      DType::kQ8_0, {40, 32}, reinterpret_cast<const std::byte*>(blocks.data())};
  const std::string text =
      WriteAsFp16(weights, "layer 3, expert 7, up", std::as_writable_bytes(std::span(out)))
          .message();
  EXPECT_NE(text.find("layer 3, expert 7, up: weight 1125 is 100000"), std::string::npos) << text;
}

TEST(Fp16Weights, OfIntegerTypesAreRefused) {
  EXPECT_NE(Refusal(DType::kI32, std::vector<int32_t>{1}).find("type I32"), std::string::npos);
}

}  // namespace
}  // namespace npumoe
