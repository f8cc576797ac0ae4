// Blocks of GGUF in packages: the same integers, the same scales, and what they stand for is the
// dequantised value rounded to fp16.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/quantized_block.h"
#include "graph/mlpackage.h"
#include "graph/testing/random_matrices.h"
#include "graph/weights/materialised.h"

namespace npumoe {
namespace {

constexpr int64_t kOut = 48, kIn = 96, kInner = 64;

// Random integers, scales of either sign from 2^-14 to 4.
std::vector<std::byte> RandomBlocks(DType type, int64_t elements, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(BytesOf(type, elements));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0xff);
  for (size_t at = 0; at < bytes.size(); at += BlockBytes(type)) {
    const auto scale = static_cast<uint16_t>(0x0400 + random() % 0x4000 + (random() % 2 << 15));
    std::memcpy(&bytes[at], &scale, sizeof scale);
  }
  return bytes;
}

std::vector<uint16_t> HalvesOf(const WeightData& weight, int64_t count) {
  const std::vector<std::byte> bytes = testing::Produced(weight, static_cast<size_t>(2 * count));
  std::vector<uint16_t> halves(static_cast<size_t>(count));
  std::memcpy(halves.data(), bytes.data(), bytes.size());
  return halves;
}

std::vector<uint16_t> DequantisedHalves(DType type, const std::vector<std::byte>& blocks) {
  std::vector<uint16_t> halves;
  for (size_t at = 0; at < blocks.size(); at += BlockBytes(type)) {
    float values[kMaxBlockElements];
    DecodeBlock(type, &blocks[at], values);
    for (int i = 0; i < 32; ++i) halves.push_back(F16FromF32(values[i]));
  }
  return halves;
}

class GgufBlocks : public ::testing::TestWithParam<DType> {
 protected:
  WeightMatrix Taken(int64_t out, int64_t in) {
    blocks_.push_back(
        RandomBlocks(GetParam(), out * in, 7 + static_cast<uint32_t>(blocks_.size())));
    const TensorView view{GetParam(), Shape{out, in}, blocks_.back().data()};
    Result<WeightMatrix> matrix = TakeOverBlocks(view, "matrix");
    NPUMOE_CHECK(matrix.ok());
    return *std::move(matrix);
  }
  std::vector<std::vector<std::byte>> blocks_;
};

// A writer stores equal identities once: a name may be that of several matrices.
TEST_P(GgufBlocks, OfOneNameHaveIdentitiesOfTheirOwn) {
  const WeightMatrix one = Taken(kOut, kIn), other = Taken(kOut, kIn);
  EXPECT_NE(one.values.identity, other.values.identity);
  EXPECT_NE(one.scales.identity, other.scales.identity);
  const TensorView first{GetParam(), Shape{kOut, kIn}, blocks_.front().data()};
  const Result<WeightMatrix> again = TakeOverBlocks(first, "another name");
  EXPECT_EQ(again->values.identity, one.values.identity);
}

TEST_P(GgufBlocks, KeepTheirScalesBitByBit) {
  const WeightMatrix matrix = Taken(kOut, kIn);
  const std::vector<uint16_t> scales = HalvesOf(matrix.scales, kOut * kIn / 32);
  for (size_t b = 0; b < scales.size(); ++b) {
    uint16_t want;
    std::memcpy(&want, &blocks_[0][b * BlockBytes(GetParam())], sizeof want);
    ASSERT_EQ(scales[b], want) << b;
  }
}

// The dequantised value over the scale is the integer that GGUF means.
TEST_P(GgufBlocks, KeepTheirIntegers) {
  const WeightMatrix matrix = Taken(kOut, kIn);
  const DType type = ValuesType(matrix.format);
  const std::vector<std::byte> bytes = testing::Produced(matrix.values, BytesOf(type, kOut * kIn));
  for (int64_t b = 0; b < kOut * kIn / 32; ++b) {
    const std::byte* block = &blocks_[0][static_cast<size_t>(b) * BlockBytes(GetParam())];
    float values[kMaxBlockElements];
    DecodeBlock(GetParam(), block, values);
    uint16_t scale;
    std::memcpy(&scale, block, sizeof scale);
    for (int64_t i = 0; i < 32; ++i) {
      const int64_t at = b * 32 + i;
      int stored = 0;
      if (type == DType::kI8) {
        stored = static_cast<int8_t>(bytes[static_cast<size_t>(at)]);
      } else {
        const int pair = std::to_integer<int>(bytes[static_cast<size_t>(at / 2)]);
        const int nibble = at % 2 == 0 ? pair & 15 : pair >> 4;
        stored = nibble >= 8 ? nibble - 16 : nibble;
      }
      ASSERT_EQ(static_cast<float>(stored), values[i] / F32FromF16(scale)) << at;
    }
  }
}

// Through a package in every form: what a device makes of it.
TEST_P(GgufBlocks, StandForTheirDequantisedValuesInEveryForm) {
  for (const GraphForm form :
       {GraphForm::kGroupedConv, GraphForm::kBatchedMatmul, GraphForm::kDenseChains}) {
    blocks_.clear();
    std::vector<ExpertSlot> slots;
    for (int expert = 0; expert < 2; ++expert) {
      // One after another: the third matrix of each expert is its down projection.
      const WeightMatrix gate = Taken(kInner, kIn), up = Taken(kInner, kIn);
      slots.push_back({expert, 16, gate, up, Taken(kIn, kInner)});
    }
    const testing::ScratchFolder folder;
    const Result<Graph> graph = BuildExpertGraph(form, {kIn, kInner}, slots);
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    ASSERT_TRUE(WriteMlpackage(folder / "p.mlpackage", std::vector{*graph}, {}).ok());
    const Result<Mlpackage> read = ReadMlpackage(folder / "p.mlpackage");
    ASSERT_TRUE(read.ok()) << read.status().message();
    const Graph& stored = read->functions.front();
    std::vector<uint16_t> want = DequantisedHalves(GetParam(), blocks_[2]);
    std::string name = "w_down_0";
    if (form != GraphForm::kDenseChains) {
      const std::vector<uint16_t> second = DequantisedHalves(GetParam(), blocks_[5]);
      want.insert(want.end(), second.begin(), second.end());
      name = "w_down";
    }
    for (const Operation& operation : stored.operations) {
      if (operation.name != name) continue;
      const Result<MaterialisedWeight> weight = MaterialisedWeight::Of(stored, operation);
      ASSERT_TRUE(weight.ok());
      ASSERT_EQ(weight->elements(), static_cast<int64_t>(want.size()));
      std::vector<float> values(want.size());
      weight->Read(0, values);
      for (size_t i = 0; i < want.size(); ++i) ASSERT_EQ(F16FromF32(values[i]), want[i]) << i;
      want.clear();
    }
    EXPECT_TRUE(want.empty()) << "no operation " << name;
  }
}

TEST_P(GgufBlocks, RefuseScalesThatAreNoNumbers) {
  for (const uint16_t bad : {0x7c00, 0xfc00, 0x7e00, 0x7bff}) {  // 0x7bff: products overflow
    std::vector<std::byte> blocks = RandomBlocks(GetParam(), 64, 1);
    std::memcpy(&blocks[BlockBytes(GetParam())], &bad, sizeof bad);
    const Result<WeightMatrix> matrix =
        TakeOverBlocks({GetParam(), Shape{2, 32}, blocks.data()}, "layer 3, gate");
    ASSERT_TRUE(matrix.ok());
    std::vector<std::byte> scales(4);
    const Status status = matrix->scales.produce(scales);
    EXPECT_EQ(status.code(), StatusCode::kNumeric);
    EXPECT_NE(status.message().find("layer 3, gate: the scale of elements 32 to 63"),
              std::string::npos)
        << status.message();
  }
}

INSTANTIATE_TEST_SUITE_P(All, GgufBlocks, ::testing::Values(DType::kQ8_0, DType::kQ4_0),
                         [](const auto& test) { return std::string(Name(test.param)); });

TEST(TakeOverBlocks, RefusesOtherTypes) {
  const std::vector<std::byte> bytes(1024);
  for (const DType type : {DType::kQ4_K, DType::kF16}) {
    const Status status = TakeOverBlocks({type, Shape{1, 256}, bytes.data()}, "matrix").status();
    EXPECT_EQ(status.code(), StatusCode::kUnsupported);
    EXPECT_NE(status.message().find("Q8_0 or Q4_0"), std::string::npos);
  }
}

}  // namespace
}  // namespace npumoe
