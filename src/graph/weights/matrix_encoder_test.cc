#include "graph/weights/matrix_encoder.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "graph/testing/random_matrices.h"

namespace npumoe {
namespace {

using testing::kAllFormats;
using testing::MaterialisedValues;
using testing::NormalValues;
using testing::Produced;
using testing::ProducedHalves;
using testing::SourceOfValues;

WeightMatrix Encoded(WeightFormat format, int64_t out, int64_t in, std::vector<float> values) {
  Result<MatrixEncoder> encoder =
      MatrixEncoder::Create(format, SourceOfValues(out, in, std::move(values)));
  NPUMOE_CHECK(encoder.ok());
  return encoder->Matrix();
}

double RelativeError(const std::vector<float>& values, const std::vector<float>& materialised) {
  double squares = 0, differences = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    squares += std::pow(double{values[i]}, 2);
    differences += std::pow(double{values[i]} - double{materialised[i]}, 2);
  }
  return std::sqrt(differences / squares);
}

class EncodedMatrix : public ::testing::TestWithParam<WeightFormat> {};

TEST_P(EncodedMatrix, ReportsTheErrorOfItsValues) {
  const std::vector<float> values = NormalValues(48 * 96, 1, 0.05f);
  Result<MatrixEncoder> encoder = MatrixEncoder::Create(GetParam(), SourceOfValues(48, 96, values));
  ASSERT_TRUE(encoder.ok()) << encoder.status().message();
  EXPECT_EQ(encoder->RelativeError(), std::nullopt);
  const double measured = RelativeError(values, MaterialisedValues(encoder->Matrix(), 48, 96));
  ASSERT_TRUE(encoder->RelativeError().has_value());
  EXPECT_NEAR(*encoder->RelativeError(), measured, 1e-9);
  EXPECT_GT(measured, 0);
}

// Scales first or values first, once or twice: the same bytes.
TEST_P(EncodedMatrix, GivesTheSameBytesInAnyOrder) {
  const std::vector<float> values = NormalValues(8 * 64, 2, 0.1f);
  const size_t bytes = BytesOf(ValuesType(GetParam()), 8 * 64);
  const auto scale_bytes = static_cast<size_t>(2 * ScaleCount(GetParam(), 8, 64));
  const WeightMatrix first = Encoded(GetParam(), 8, 64, values);
  const WeightMatrix second = Encoded(GetParam(), 8, 64, values);
  if (scale_bytes > 0) {
    const std::vector<std::byte> scales = Produced(first.scales, scale_bytes);
    Produced(second.values, bytes);
    EXPECT_EQ(Produced(second.scales, scale_bytes), scales);
  }
  EXPECT_EQ(Produced(first.values, bytes), Produced(second.values, bytes));
}

TEST_P(EncodedMatrix, KeepsZeros) {
  const WeightMatrix matrix = Encoded(GetParam(), 2, 32, std::vector<float>(64, 0.0f));
  EXPECT_EQ(MaterialisedValues(matrix, 2, 32), std::vector<float>(64, 0.0f));
}

// 65504 over 127 is no fp16 number; the scale must not make its own largest product infinite.
TEST_P(EncodedMatrix, KeepsTheLargestNumbersFinite) {
  std::vector<float> values(64, 65504.0f);
  values[1] = -65504.0f;
  values[40] = 3.0f;
  for (const float value : MaterialisedValues(Encoded(GetParam(), 2, 32, values), 2, 32)) {
    EXPECT_TRUE(std::isfinite(value));
  }
}

// The scale of such rows is subnormal: it has few bits, and a bad rounding would cut values off.
TEST_P(EncodedMatrix, KeepsTinyNumbersAsFp16Would) {
  std::vector<float> values(32);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0x1p-21f;
  const std::vector<float> materialised =
      MaterialisedValues(Encoded(GetParam(), 1, 32, values), 1, 32);
  const double step = GetParam() == WeightFormat::kInt4Block32 || GetParam() == WeightFormat::kLut4
                          ? 31 * 0x1p-21 / 14
                          : 31 * 0x1p-21 / 50;
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(materialised[i], values[i], step) << i;
}

TEST_P(EncodedMatrix, RefusesWhatFp16CannotHold) {
  for (const float bad : {65520.0f, -1e30f, std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> values(64, 1.0f);
    values[37] = bad;
    std::vector<std::byte> bytes(BytesOf(ValuesType(GetParam()), 64));
    const Status status = Encoded(GetParam(), 2, 32, values).values.produce(bytes);
    EXPECT_EQ(status.code(), StatusCode::kNumeric);
    EXPECT_NE(status.message().find("matrix: element 37"), std::string::npos) << status.message();
  }
}

std::string NameOf(const ::testing::TestParamInfo<WeightFormat>& test) {
  std::string name = Name(test.param);
  std::erase(name, '-');
  return name;
}
INSTANTIATE_TEST_SUITE_P(All, EncodedMatrix, ::testing::ValuesIn(kAllFormats), NameOf);

// By hand: 254 over 127 is 2; 127 over 127 is 1.
TEST(MatrixEncoder, GivesEveryRowItsScale) {
  const WeightMatrix matrix = Encoded(WeightFormat::kInt8, 2, 3, {254, -4, 3, 0.4f, -127, 63.4f});
  EXPECT_EQ(ProducedHalves(matrix.scales, 2), (std::vector<float>{2, 1}));
  const std::vector<std::byte> q = Produced(matrix.values, 6);
  const int8_t want[] = {127, -2, 2, 0, -127, 63};  // 1.5 is halfway: to the even 2
  EXPECT_EQ(std::memcmp(q.data(), want, 6), 0);
}

// By hand: the largest value is -4, so that the scale is -4 / -8 = 0.5 and 4 would be cut to 3.5.
TEST(MatrixEncoder, MeetsTheLargestValueOfAFourBitBlock) {
  std::vector<float> values(64, 0.0f);
  values[0] = -4;
  values[1] = 3.5f;
  values[2] = 0.5f;
  values[32] = 16;  // the next block: scale 16 / -8 = -2
  values[33] = -14;
  const WeightMatrix matrix = Encoded(WeightFormat::kInt4Block32, 1, 64, values);
  EXPECT_EQ(ProducedHalves(matrix.scales, 2), (std::vector<float>{0.5f, -2}));
  const std::vector<std::byte> q = Produced(matrix.values, 32);
  EXPECT_EQ(q[0], std::byte{0x78});  // -8 in the low half, 7 in the high
  EXPECT_EQ(q[1], std::byte{0x01});
  EXPECT_EQ(q[16], std::byte{0x78});  // 16 / -2 = -8, -14 / -2 = 7
  EXPECT_EQ(MaterialisedValues(matrix, 1, 64), values);
}

TEST(MatrixEncoder, KeepsAMatrixOfFewDifferentValuesExactly) {
  std::vector<float> values(6 * 7);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 16) - 7.5f;
  EXPECT_EQ(MaterialisedValues(Encoded(WeightFormat::kLut4, 6, 7, values), 6, 7), values);
}

TEST(MatrixEncoder, RefusesRowsThatAreNoWholeBlocks) {
  const Status status = MatrixEncoder::Create(WeightFormat::kInt8Block32,
                                              SourceOfValues(2, 33, std::vector<float>(66)))
                            .status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("a multiple of 32"), std::string::npos) << status.message();
}

// A time limit far above what it takes (some 50 ms), so that only another order of growth fails.
TEST(MatrixEncoder, FindsTheTablesOfALargeMatrixInWellBelowASecond) {
  const auto values = std::make_shared<std::vector<float>>(NormalValues(2048 * 768, 3, 0.02f));
  MatrixSource source{2048, 768, "large", [values](int64_t first, std::span<float> rows) {
                        std::copy_n(values->begin() + first * 768, rows.size(), rows.begin());
                        return OkStatus();
                      }};
  Result<MatrixEncoder> encoder = MatrixEncoder::Create(WeightFormat::kLut6, std::move(source));
  const auto begin = std::chrono::steady_clock::now();
  Produced(encoder->Matrix().values, BytesOf(DType::kU6, 2048 * 768));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(seconds.count(), 5.0);
  RecordProperty("seconds", std::to_string(seconds.count()));
}

}  // namespace
}  // namespace npumoe
