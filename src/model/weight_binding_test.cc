#include "model/weight_binding.h"

#include <gtest/gtest.h>

#include "model/synthetic.h"

namespace npumoe {
namespace {

ModelConfig SmallConfig() {
  ModelConfig config = Qwen3_30B_A3B_Config(2);
  config.hidden_size = 8;
  config.vocab_size = 10;
  config.attention.num_heads = 2;
  config.attention.num_kv_heads = 1;
  config.attention.head_dim = 4;
  config.moe.num_experts = 3;
  config.moe.experts_per_token = 1;
  config.moe.expert_intermediate_size = 5;
  config.dense_intermediate_size = 6;
  config.is_moe_layer = {true, false};
  return config;
}

const std::byte kAnyByte{};  // bindings look at names, types and shapes only

std::map<std::string, TensorView> AllTensors(const ModelConfig& config) {
  std::map<std::string, TensorView> tensors;
  const Status status = ForEachExpectedTensor(
      *FindFamily(config.family), config, [&tensors](const ExpectedTensor& tensor) {
        tensors[tensor.name] = {DType::kBF16, tensor.shape, &kAnyByte};
        return OkStatus();
      });
  EXPECT_TRUE(status.ok());
  return tensors;
}

Result<ModelWeights> Bind(const ModelConfig& config,
                          const std::map<std::string, TensorView>& tensors) {
  return BindWeights(config, tensors, "folder", [](const std::string&) { return "shard-2"; });
}

std::string Refusal(const std::map<std::string, TensorView>& tensors) {
  const auto bound = Bind(SmallConfig(), tensors);
  return bound.ok() ? "bound" : bound.status().message();
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

constexpr const char* kRouter = "model.layers.0.mlp.gate.weight";

TEST(WeightBinding, PutsEveryTensorIntoItsPlace) {
  const auto tensors = AllTensors(SmallConfig());
  const auto weights = Bind(SmallConfig(), tensors);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  const LayerWeights& moe = weights->layers[0];
  EXPECT_EQ(moe.experts.size(), 3u);
  EXPECT_EQ(moe.experts[2].down.shape, Shape({8, 5}));
  EXPECT_EQ(moe.attention.q.shape, Shape({8, 8}));
  EXPECT_EQ(moe.attention.v.shape, Shape({4, 8}));
  EXPECT_TRUE(moe.dense.gate.empty());
  const LayerWeights& dense = weights->layers[1];
  EXPECT_EQ(dense.dense.gate.shape, Shape({6, 8}));
  EXPECT_TRUE(dense.router.empty());
}

TEST(WeightBinding, CountsAsManyElementsAsTheConfigPromises) {
  ModelConfig config = SmallConfig();
  config.attention.projection_bias = config.attention.output_bias = true;
  int64_t elements = 0;
  for (const auto& [name, view] : AllTensors(config)) elements += view.shape.elements();
  EXPECT_EQ(elements, config.TotalParameters());
}

TEST(WeightBinding, NeedsBiasesOnlyWhereTheConfigHasThem) {
  ModelConfig config = SmallConfig();
  EXPECT_FALSE(AllTensors(config).contains("model.layers.0.self_attn.o_proj.bias"));
  config.attention.projection_bias = config.attention.output_bias = true;
  EXPECT_TRUE(AllTensors(config).contains("model.layers.0.self_attn.o_proj.bias"));
  EXPECT_TRUE(AllTensors(config).contains("model.layers.1.self_attn.q_proj.bias"));
}

TEST(WeightBinding, UsesTheEmbeddingAsHeadWhenTied) {
  ModelConfig config = SmallConfig();
  config.tie_word_embeddings = true;
  auto tensors = AllTensors(config);
  tensors.erase("lm_head.weight");
  const auto weights = Bind(config, tensors);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  EXPECT_EQ(weights->lm_head.data, weights->embedding.data);
}

TEST(WeightBinding, AcceptsAHeadOfItsOwnInATiedModel) {
  ModelConfig config = SmallConfig();
  config.tie_word_embeddings = true;
  const std::byte own_head{};
  auto tensors = AllTensors(config);
  tensors["lm_head.weight"].data = &own_head;
  EXPECT_EQ(Bind(config, tensors).value().lm_head.data, &own_head);
}

TEST(WeightBinding, NeedsAHeadWhenNotTied) {
  auto tensors = AllTensors(SmallConfig());
  tensors.erase("lm_head.weight");
  EXPECT_CONTAINS(Refusal(tensors), "'lm_head.weight' [10, 8] is missing");
}

TEST(WeightBinding, NamesAMissingTensorAndItsShape) {
  auto tensors = AllTensors(SmallConfig());
  tensors.erase("model.layers.0.mlp.experts.1.up_proj.weight");
  EXPECT_CONTAINS(Refusal(tensors),
                  "folder: tensor 'model.layers.0.mlp.experts.1.up_proj.weight' [5, 8] is missing");
}

TEST(WeightBinding, NamesAMisshapenTensorItsFileAndBothShapes) {
  auto tensors = AllTensors(SmallConfig());
  tensors[kRouter].shape = Shape({8, 3});
  const std::string text = Refusal(tensors);
  EXPECT_CONTAINS(text, "shard-2: tensor 'model.layers.0.mlp.gate.weight'");
  EXPECT_CONTAINS(text, "[8, 3]");
  EXPECT_CONTAINS(text, "[3, 8]");
}

TEST(WeightBinding, NamesATensorOfAnotherType) {
  auto tensors = AllTensors(SmallConfig());
  tensors[kRouter].dtype = DType::kI8;
  EXPECT_CONTAINS(Refusal(tensors), "'model.layers.0.mlp.gate.weight' has type I8");
}

TEST(WeightBinding, NamesATensorThatHasNoPlace) {
  auto tensors = AllTensors(SmallConfig());
  tensors["model.layers.0.mlp.shared_expert.up_proj.weight"] = {DType::kBF16, {5, 8}, &kAnyByte};
  EXPECT_CONTAINS(Refusal(tensors),
                  "tensor 'model.layers.0.mlp.shared_expert.up_proj.weight' (BF16 [5, 8])");
}

TEST(WeightBinding, ToleratesBuffersThatFollowFromTheConfig) {
  auto tensors = AllTensors(SmallConfig());
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {DType::kF32, {2}, &kAnyByte};
  EXPECT_EQ(Refusal(tensors), "bound");
}

TEST(WeightBinding, FindsARouterUnderItsNewerName) {
  const ModelConfig config = SmallConfigOf("mixtral").value();
  auto tensors = AllTensors(config);
  const auto renamed = tensors.extract("model.layers.1.block_sparse_moe.gate.weight");
  tensors["model.layers.1.mlp.gate.weight"] = renamed.mapped();
  const auto weights = Bind(config, tensors);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  EXPECT_FALSE(weights->layers[1].router.empty());
}

TEST(WeightBinding, RefusesARouterUnderBothNames) {
  const ModelConfig config = SmallConfigOf("mixtral").value();
  auto tensors = AllTensors(config);
  const std::string newer = "model.layers.1.mlp.gate.weight";
  tensors[newer] = tensors["model.layers.1.block_sparse_moe.gate.weight"];
  EXPECT_CONTAINS(Bind(config, tensors).status().message(), newer);
}

TEST(WeightBinding, NamesTheFusedTensorWhereAnExpertIsMissing) {
  const ModelConfig config = SmallConfigOf("granitemoe").value();
  auto tensors = AllTensors(config);
  std::erase_if(tensors, [](const auto& entry) {
    return entry.first.find("down_proj") != std::string::npos;
  });
  EXPECT_CONTAINS(Bind(config, tensors).status().message(),
                  "'model.layers.0.block_sparse_moe.output_linear.weight' for all experts");
}

TEST(WeightBinding, RefusesFusedExpertsBesideSingleOnes) {
  auto tensors = AllTensors(SmallConfig());
  tensors["model.layers.0.mlp.experts.down_proj"] = {DType::kBF16, {3, 8, 5}, &kAnyByte};
  EXPECT_CONTAINS(Refusal(tensors), "'model.layers.0.mlp.experts.down_proj'");
}

TEST(WeightBinding, AllocatesNothingForExpertsThatAConfigOnlyClaims) {
  ModelConfig config = SmallConfig();
  const auto tensors = AllTensors(config);
  config.moe.num_experts = 65'536;
  config.num_layers = 10'000;
  config.is_moe_layer.assign(10'000, true);
  EXPECT_FALSE(Bind(config, tensors).ok());  // at once, and under a memory limit
}

}  // namespace
}  // namespace npumoe
