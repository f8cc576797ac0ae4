// Lowering of attention and head programs.
#include <gtest/gtest.h>

#include <deque>
#include <numeric>
#include <vector>

#include "plan/lowering.h"

namespace npumoe {
namespace {

constexpr int kHidden = 64, kHeads = 2, kHeadDim = 32, kVocabulary = 100;

class DenseLowering : public testing::Test {
 protected:
  DenseLowering() {
    config_.hidden_size = kHidden;
    config_.vocab_size = kVocabulary;
    config_.num_layers = 2;
    config_.attention.num_heads = kHeads;
    config_.attention.num_kv_heads = 1;
    config_.attention.head_dim = kHeadDim;
    config_.attention.qk_norm = QkNorm::kPerHead;
    weights_.lm_head = Matrix(kVocabulary, kHidden);
    weights_.layers.resize(2);
    for (LayerWeights& layer : weights_.layers) {
      AttentionWeights& attention = layer.attention;
      attention.q = Matrix(kHeads * kHeadDim, kHidden);
      attention.k = attention.v = Matrix(kHeadDim, kHidden);
      attention.o = Matrix(kHidden, kHeads * kHeadDim);
      attention.q_norm = attention.k_norm = Vector(kHeadDim);
    }
    plan_.model_hash = "model";
    plan_.chunk_tokens = 64;
    plan_.attention = {{0, 1}, {0, 32, 96}};
    plan_.head = {{16, 64}, 40};
  }
  std::vector<Graph> Lower(const ProgramId& id) {
    auto graphs = LowerPlanned(plan_, config_, weights_, id);
    EXPECT_TRUE(graphs.ok()) << graphs.status().message();
    return graphs.ok() ? *std::move(graphs) : std::vector<Graph>();
  }
  TensorView Matrix(int64_t out, int64_t in) { return View(Shape{out, in}); }
  TensorView Vector(int64_t size) { return View(Shape{size}); }

  ModelConfig config_;
  ModelWeights weights_;
  Plan plan_;

 private:
  // Element i is i.
  TensorView View(const Shape& shape) {
    std::vector<float>& values = storage_.emplace_back(static_cast<size_t>(shape.elements()));
    std::iota(values.begin(), values.end(), 0.0f);
    return {DType::kF32, shape, reinterpret_cast<const std::byte*>(values.data())};
  }
  std::deque<std::vector<float>> storage_;
};

TEST_F(DenseLowering, GivesAttentionAFunctionPerHistoryLengthTheLongestFirst) {
  const auto graphs = Lower({ProgramKind::kAttention, 1, 0});
  ASSERT_EQ(graphs.size(), 3u);
  const char* names[] = {"main", "history_0", "history_1"};
  const int64_t keys[] = {96 + 64, 0 + 64, 32 + 64};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(graphs[i].name, names[i]);
    EXPECT_EQ(graphs[i].Find("mask")->shape, Shape({1, keys[i], 1, 64}));
    EXPECT_EQ(FunctionIndex(i, 3), (i + 1) % 3);
  }
}

TEST_F(DenseLowering, GivesEachHeadOfLatentAttentionItsRowsOfTheExpansion) {
  // Heads of 6 channels that stay and 2 that turn, values of 3.
  config_.attention.latent = LatentAttention{5, 8, 6, 2, 3};
  config_.attention.num_kv_heads = kHeads;
  config_.attention.qk_norm = QkNorm::kNone;
  AttentionWeights& attention = weights_.layers[1].attention;
  attention = {};
  attention.o = Matrix(kHidden, kHeads * 3);
  attention.latent = {Matrix(5, kHidden),     Vector(5), Matrix(kHeads * 8, 5),
                      Matrix(8 + 2, kHidden), Vector(8), Matrix(kHeads * (6 + 3), 8)};
  const auto graphs = Lower({ProgramKind::kAttention, 1, 0});
  ASSERT_EQ(graphs.size(), 3u);
  EXPECT_EQ(graphs[0].Find("latents")->shape, Shape({1, 8 + 2, 1, 96}));
  const auto& second = std::get<WeightData>(graphs[0].constants.at("w_expand_1").value);
  std::vector<uint16_t> bits(9 * 8);
  ASSERT_TRUE(second.produce(std::as_writable_bytes(std::span(bits))).ok());
  EXPECT_EQ(F32FromF16(bits[0]), 9 * 8);
  attention.latent.kv_b = Matrix(kHeads * (6 + 3), 7);
  const Status refused =
      LowerPlanned(plan_, config_, weights_, {ProgramKind::kAttention, 1, 0}).status();
  EXPECT_NE(refused.message().find("expansion of latents"), std::string::npos) << refused.message();
}

TEST_F(DenseLowering, CutsTheHeadIntoEqualSlices) {
  const auto graphs = Lower({ProgramKind::kHead, 0, 0});
  ASSERT_EQ(graphs.size(), 2u);
  EXPECT_EQ(graphs[0].name, "main");
  EXPECT_EQ(graphs[1].name, "rows_0");
  int64_t entries = 0;
  for (const std::string& output : graphs[0].outputs) {
    const Shape& shape = graphs[0].Find(output)->shape;
    EXPECT_LE(shape[1], 40);
    EXPECT_EQ(shape[3], 64);
    entries += shape[1];
  }
  EXPECT_EQ(entries, kVocabulary);
}

TEST_F(DenseLowering, GivesEachSliceItsRowsOfTheHead) {
  const auto graphs = Lower({ProgramKind::kHead, 0, 0});
  ASSERT_EQ(graphs.size(), 2u);
  const auto& second = std::get<WeightData>(graphs[0].constants.at("w_head_1").value);
  std::vector<uint16_t> bits(33 * kHidden);
  ASSERT_TRUE(second.produce(std::as_writable_bytes(std::span(bits))).ok());
  EXPECT_EQ(F32FromF16(bits[0]), 34 * kHidden);  // 34, 33 and 33 entries
}

TEST_F(DenseLowering, RefusesWeightsOfAnotherShape) {
  weights_.layers[1].attention.k = Matrix(kHeadDim, kHidden + 2);
  const Status refused =
      LowerPlanned(plan_, config_, weights_, {ProgramKind::kAttention, 1, 0}).status();
  EXPECT_NE(refused.message().find("layer 1, attention, key"), std::string::npos)
      << refused.message();
}

TEST_F(DenseLowering, SharesWeightsBetweenFunctions) {
  const auto graphs = Lower({ProgramKind::kAttention, 0, 0});
  for (const auto& [name, constant] : graphs[0].constants) {
    const auto* weight = std::get_if<WeightData>(&constant.value);
    if (weight == nullptr) continue;
    ASSERT_FALSE(weight->identity.empty()) << name;
    EXPECT_EQ(std::get<WeightData>(graphs[1].constants.at(name).value).identity, weight->identity);
  }
}

TEST_F(DenseLowering, StoresTheFormatThatThePlanGivesAttentionAndHead) {
  plan_.weight_format = WeightFormat::kLut4;  // of experts only
  const auto fp16 = Lower({ProgramKind::kAttention, 0, 0});
  EXPECT_EQ(fp16[0].Find("w_query")->dtype, DType::kF16);
  EXPECT_TRUE(fp16[0].constants.contains("w_query"));
  plan_.dense_weight_format = WeightFormat::kInt8;
  Encoders encoders;
  for (const ProgramId& id :
       {ProgramId{ProgramKind::kAttention, 0, 0}, ProgramId{ProgramKind::kHead, 0, 0}}) {
    const auto graphs = LowerPlanned(plan_, config_, weights_, id, &encoders);
    ASSERT_TRUE(graphs.ok()) << graphs.status().message();
    const bool head = id.kind == ProgramKind::kHead;
    const std::string name = head ? "w_head_0" : "w_query";
    EXPECT_FALSE((*graphs)[0].constants.contains(name));
    EXPECT_EQ((*graphs)[0].constants.at(name + "_data").spec.dtype, DType::kI8);
  }
  EXPECT_EQ(encoders.size(), 4u + 3u);  // matrices of attention, slices of the head
}

TEST_F(DenseLowering, NamesPackagesByEverythingThatChangesThem) {
  const ProgramId attention{ProgramKind::kAttention, 0, 0}, head{ProgramKind::kHead, 0, 0};
  const std::string attention_key = ProgramKey(plan_, attention),
                    head_key = ProgramKey(plan_, head);
  EXPECT_NE(attention_key, head_key);
  EXPECT_NE(attention_key, ProgramKey(plan_, {ProgramKind::kAttention, 1, 0}));
  plan_.weight_format = WeightFormat::kLut4;  // the experts'
  EXPECT_EQ(attention_key, ProgramKey(plan_, attention));
  plan_.dense_weight_format = WeightFormat::kInt8;
  EXPECT_NE(attention_key, ProgramKey(plan_, attention));
  EXPECT_NE(head_key, ProgramKey(plan_, head));
  plan_.dense_weight_format = WeightFormat::kF16;
  plan_.attention.history_tokens.back() = 128;
  plan_.head.slice_entries = 50;
  EXPECT_NE(attention_key, ProgramKey(plan_, attention));
  EXPECT_NE(head_key, ProgramKey(plan_, head));
}

}  // namespace
}  // namespace npumoe
