#include "model/synthetic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "model/weight_binding.h"

namespace npumoe {
namespace {

ModelConfig SmallConfig() {
  ModelConfig config = Qwen3_30B_A3B_Config(3);
  config.hidden_size = 96;
  config.vocab_size = 300;
  config.attention.num_heads = 4;
  config.attention.num_kv_heads = 2;
  config.attention.head_dim = 32;
  config.attention.projection_bias = true;
  config.attention.output_bias = true;
  config.moe.num_experts = 6;
  config.moe.experts_per_token = 2;
  config.moe.expert_intermediate_size = 40;
  config.dense_intermediate_size = 50;
  config.is_moe_layer[1] = false;
  return config;
}

std::shared_ptr<const Model> Make(DType dtype, uint64_t seed) {
  auto model = MakeSyntheticModel({.config = SmallConfig(), .dtype = dtype, .seed = seed});
  EXPECT_TRUE(model.ok()) << model.status().message();
  return model.value();
}

float Element(const TensorView& tensor, size_t i) {
  if (tensor.dtype == DType::kF32) return tensor.as<float>()[i];
  const uint16_t bits = tensor.as<uint16_t>()[i];
  return tensor.dtype == DType::kF16 ? F32FromF16(bits) : F32FromBF16(bits);
}

double RootMeanSquare(const TensorView& tensor) {
  const auto count = static_cast<size_t>(tensor.shape.elements());
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += std::pow(Element(tensor, i), 2);
  return std::sqrt(sum / static_cast<double>(count));
}

TEST(SyntheticModel, HasEveryTensorInItsShape) {
  const auto model = Make(DType::kBF16, 1);
  const ModelWeights& weights = model->weights;
  EXPECT_EQ(weights.embedding.shape, Shape({300, 96}));
  EXPECT_EQ(weights.lm_head.shape, Shape({300, 96}));
  ASSERT_EQ(weights.layers.size(), 3u);
  EXPECT_EQ(weights.layers[0].attention.q.shape, Shape({128, 96}));
  EXPECT_EQ(weights.layers[0].attention.k_bias.shape, Shape({64}));
  EXPECT_EQ(weights.layers[0].router.shape, Shape({6, 96}));
  ASSERT_EQ(weights.layers[2].experts.size(), 6u);
  EXPECT_EQ(weights.layers[2].experts[5].down.shape, Shape({96, 40}));
  EXPECT_TRUE(weights.layers[1].experts.empty());
  EXPECT_TRUE(weights.layers[1].router.empty());
  EXPECT_EQ(weights.layers[1].dense.up.shape, Shape({50, 96}));
}

TEST(SyntheticModel, SharesTheEmbeddingWhenTied) {
  ModelConfig config = SmallConfig();
  config.tie_word_embeddings = true;
  const auto model = MakeSyntheticModel({.config = config}).value();
  EXPECT_EQ(model->weights.lm_head.data, model->weights.embedding.data);
}

TEST(SyntheticModel, KeepsActivationsNearOneInEveryType) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const auto model = Make(dtype, 7);
    const LayerWeights& layer = model->weights.layers[0];
    // Truncation towards zero makes 16-bit values smaller by up to half a unit in the last place.
    EXPECT_NEAR(RootMeanSquare(model->weights.embedding), 1.0, 0.02) << Name(dtype);
    EXPECT_NEAR(RootMeanSquare(layer.experts[3].down) * std::sqrt(40.0), 1.0, 0.03) << Name(dtype);
    EXPECT_EQ(Element(layer.attention_norm, 5), 1.0f) << Name(dtype);
  }
}

TEST(SyntheticModel, IsTheSameForTheSameSeedAndDiffersForAnother) {
  const auto a = Make(DType::kF32, 1);
  const auto b = Make(DType::kF32, 1);
  const auto c = Make(DType::kF32, 2);
  const TensorView& gate = a->weights.layers[0].experts[0].gate;
  const auto same = [&gate](const std::shared_ptr<const Model>& other) {
    const TensorView& theirs = other->weights.layers[0].experts[0].gate;
    return std::memcmp(gate.data, theirs.data, gate.bytes()) == 0;
  };
  EXPECT_TRUE(same(b));
  EXPECT_FALSE(same(c));
  EXPECT_EQ(a->hash, b->hash);
  EXPECT_NE(a->hash, c->hash);
}

TEST(SyntheticModel, GivesEveryTensorNumbersOfItsOwn) {
  const auto model = Make(DType::kBF16, 1);
  const auto& experts = model->weights.layers[0].experts;
  EXPECT_NE(std::memcmp(experts[0].gate.data, experts[1].gate.data, experts[0].gate.bytes()), 0);
  EXPECT_NE(std::memcmp(experts[0].gate.data, experts[0].up.data, experts[0].gate.bytes()), 0);
}

TEST(SyntheticModel, HasTheLayerShapeOfThePublishedModel) {
  const ModelConfig config = Qwen3_30B_A3B_Config(48);
  EXPECT_EQ(config.TotalParameters(), 30'532'122'624);
}

TEST(SyntheticModel, HasEveryTensorOfEveryFamily) {
  for (const ModelFamily* family : AllFamilies()) {
    const ModelConfig config = SmallConfigOf(family->model_type).value();
    const auto model = MakeSyntheticModel({.config = config});
    ASSERT_TRUE(model.ok()) << model.status().message();
    const auto check = [&](const ExpectedTensor& tensor) {
      const TensorView* placed = PlacedTensor(tensor, (*model)->weights);
      EXPECT_EQ(placed != nullptr, tensor.required || tensor.role == TensorRole::kLmHead)
          << tensor.name;
      return OkStatus();
    };
    EXPECT_TRUE(ForEachExpectedTensor(*family, config, check).ok());
  }
}

TEST(SyntheticModel, HasOnesInEveryNormAndSmallBiases) {
  const ModelConfig latent_config = SmallConfigOf("deepseek_v2").value();
  const auto latent = MakeSyntheticModel({.config = latent_config, .dtype = DType::kF32}).value();
  const LatentAttentionWeights& attention = latent->weights.layers[0].attention.latent;
  EXPECT_EQ(Element(attention.q_a_norm, 3), 1.0f);
  EXPECT_EQ(Element(attention.kv_a_norm, 3), 1.0f);
  const ModelConfig phi_config = SmallConfigOf("phimoe").value();
  const auto phi = MakeSyntheticModel({.config = phi_config, .dtype = DType::kF32}).value();
  EXPECT_EQ(Element(phi->weights.layers[0].ffn_norm, 3), 1.0f);
  EXPECT_LE(std::abs(Element(phi->weights.layers[0].ffn_norm_bias, 3)), 0.1f);
}

TEST(BytesPerWeight, AreThoseOfTheExpertsType) {
  EXPECT_EQ(BytesPerWeight(*Make(DType::kF32, 1)), 4);
  EXPECT_EQ(BytesPerWeight(*Make(DType::kF16, 1)), 2);
  EXPECT_EQ(BytesPerWeight(*Make(DType::kBF16, 1)), 2);
}

TEST(BytesPerWeight, CountTheScalesOfQuantisedBlocks) {
  Model quantised = *Make(DType::kBF16, 1);
  quantised.weights.layers[0].experts[0].gate.dtype = DType::kQ4_0;
  EXPECT_EQ(BytesPerWeight(quantised), 18.0 / 32);
  quantised.weights.layers[0].experts[0].gate.dtype = DType::kMXFP4;
  EXPECT_EQ(BytesPerWeight(quantised), 17.0 / 32);
}

TEST(BytesPerWeight, LookAtExpertsEvenWhereOtherWeightsHaveAnotherType) {
  Model mixed = *Make(DType::kBF16, 1);
  mixed.weights.layers[0].experts.clear();  // a dense layer first
  for (FfnWeights& expert : mixed.weights.layers[2].experts) expert.gate.dtype = DType::kF32;
  EXPECT_EQ(BytesPerWeight(mixed), 4);
}

}  // namespace
}  // namespace npumoe
