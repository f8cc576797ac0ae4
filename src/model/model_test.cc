#include "model/model.h"

#include <functional>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/mapped_file.h"
#include "model/safetensors.h"
#include "model/test_folder.h"
#include "model/weight_binding.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

const fs::path kDemo = NPUMOE_SOURCE_DIR "/models/demo";
constexpr int kDemoVocabulary = 4096;

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

Json TinyConfig(int vocab_size) {
  return Json{{"model_type", "qwen3_moe"},
              {"hidden_size", 8},
              {"num_hidden_layers", 2},
              {"vocab_size", vocab_size},
              {"num_attention_heads", 2},
              {"max_position_embeddings", 64},
              {"head_dim", 4},
              {"num_key_value_heads", 1},
              {"num_experts", 3},
              {"num_experts_per_tok", 2},
              {"moe_intermediate_size", 5},
              {"eos_token_id", 7},
              {"tie_word_embeddings", false},
              {"norm_topk_prob", true}};
}

// A folder with a model of some kilobytes: F32, each tensor filled with another number.
class TinyModel : public ::testing::Test {
 protected:
  void SetUp() override { WriteModel(TinyConfig(16)); }

  void WriteModel(const Json& config_json) {
    folder_.Write("config.json", config_json.dump());
    const ModelConfig config = ParseModelConfig(config_json, "config").value();
    values_.clear();
    tensors_.clear();
    const auto add = [this](const ExpectedTensor& tensor) {
      auto& values = values_[tensor.name];
      values.assign(static_cast<size_t>(tensor.shape.elements()),
                    static_cast<float>(values_.size()));
      tensors_[tensor.name] = {DType::kF32, tensor.shape,
                               reinterpret_cast<const std::byte*>(values.data())};
      return OkStatus();
    };
    ASSERT_TRUE(ForEachExpectedTensor(*FindFamily("qwen3_moe"), config, add).ok());
    WriteWeights();
  }
  void WriteWeights() {
    ASSERT_TRUE(WriteSafetensors(folder_.path() / "model.safetensors", tensors_).ok());
  }
  // The same tensors in two shards with an index.
  void Shard() {
    fs::remove(folder_.path() / "model.safetensors");
    std::map<std::string, TensorView> shards[2];
    Json weight_map = Json::object();
    for (const auto& [name, view] : tensors_) {
      const size_t shard = weight_map.size() % 2;
      shards[shard].emplace(name, view);
      weight_map[name] = std::to_string(shard) + ".safetensors";
    }
    for (const size_t i : {0u, 1u}) {
      const fs::path path = folder_.path() / (std::to_string(i) + ".safetensors");
      ASSERT_TRUE(WriteSafetensors(path, shards[i]).ok());
    }
    folder_.Write("model.safetensors.index.json", Json{{"weight_map", weight_map}}.dump());
  }
  void UseDemoTokenizer() {
    fs::copy_file(kDemo / "tokenizer.json", folder_.path() / "tokenizer.json");
  }
  std::shared_ptr<const Model> Load() {
    auto model = LoadModel(folder_.path());
    EXPECT_TRUE(model.ok()) << model.status().message();
    return model.ok() ? model.value() : std::make_shared<Model>();
  }
  std::string Refusal() {
    const auto model = LoadModel(folder_.path());
    return model.ok() ? "loaded" : model.status().message();
  }

  TestFolder folder_;
  std::map<std::string, std::vector<float>> values_;
  std::map<std::string, TensorView> tensors_;
};

TEST_F(TinyModel, LoadsWithoutATokenizer) {
  const auto model = Load();
  EXPECT_EQ(model->tokenizer, nullptr);
  EXPECT_FALSE(model->chat_template.has_value());
  EXPECT_TRUE(model->tokenizer_hash.empty());
  EXPECT_EQ(model->generation.end_tokens, (std::vector<int32_t>{7}));
  EXPECT_EQ(model->hash.size(), 32u);
}

TEST_F(TinyModel, KeepsItsWeightsAliveAfterTheFolderIsGone) {
  const auto model = Load();
  for (const auto& entry : fs::directory_iterator(folder_.path())) fs::remove(entry.path());
  EXPECT_EQ(model->weights.layers[1].experts[2].down.as<float>()[0],
            values_["model.layers.1.mlp.experts.2.down_proj.weight"][0]);
}

TEST_F(TinyModel, HasTheSameHashInOneFileAndInShards) {
  const std::string hash = Load()->hash;
  Shard();
  EXPECT_EQ(Load()->hash, hash);
}

TEST_F(TinyModel, ChangesItsHashWithAnyWeight) {
  const std::string hash = Load()->hash;
  values_["model.layers.1.mlp.experts.2.down_proj.weight"].back() += 1;
  WriteWeights();
  EXPECT_NE(Load()->hash, hash);
}

TEST_F(TinyModel, ChangesItsHashWithTheConfig) {
  const std::string hash = Load()->hash;
  Json json = TinyConfig(16);
  json["norm_topk_prob"] = false;
  folder_.Write("config.json", json.dump());
  EXPECT_NE(Load()->hash, hash);
}

TEST_F(TinyModel, IsRefusedWhenATensorOfAnotherModelIsAmongItsWeights) {
  tensors_["model.layers.0.mlp.experts.3.up_proj.weight"] = tensors_["lm_head.weight"];
  WriteWeights();
  const std::string text = Refusal();
  EXPECT_CONTAINS(text, "model.safetensors: tensor 'model.layers.0.mlp.experts.3.up_proj.weight'");
}

TEST_F(TinyModel, NamesTheShardOfAMisshapenTensor) {
  tensors_["lm_head.weight"].shape = Shape({8, 16});
  Shard();
  const std::string text = Refusal();
  EXPECT_CONTAINS(text, ".safetensors: tensor 'lm_head.weight' has shape [8, 16]");
  EXPECT_CONTAINS(text, "[16, 8]");
}

TEST_F(TinyModel, IsRefusedWithATokenizerOfMoreTokens) {
  UseDemoTokenizer();
  const std::string text = Refusal();
  EXPECT_CONTAINS(text, "tokenizer.json");
  EXPECT_CONTAINS(text, "vocab_size 16");
}

TEST_F(TinyModel, AcceptsATokenizerOfFewerTokens) {
  WriteModel(TinyConfig(kDemoVocabulary + 100));
  UseDemoTokenizer();
  EXPECT_NE(Load()->tokenizer, nullptr);
}

class TinyChatModel : public TinyModel {
 protected:
  static constexpr const char* kUnknown = "{{ no template that anyone knows }}";
  void SetUp() override {
    WriteModel(TinyConfig(kDemoVocabulary));
    UseDemoTokenizer();
  }
  void WriteTokenizerConfig(const Json& chat_template) {
    folder_.Write("tokenizer_config.json", Json{{"chat_template", chat_template}}.dump());
  }
};

TEST_F(TinyChatModel, WithoutATemplateIsABaseModel) {
  WriteTokenizerConfig(nullptr);
  EXPECT_FALSE(Load()->chat_template.has_value());
  EXPECT_TRUE(Load()->chat_template_problem.empty());
}

TEST_F(TinyChatModel, LoadsWithAnUnknownTemplateAndSaysWhy) {
  WriteTokenizerConfig(kUnknown);
  EXPECT_FALSE(Load()->chat_template.has_value());
  EXPECT_FALSE(Load()->chat_template_problem.empty());
}

TEST_F(TinyChatModel, TakesTheDefaultOfSeveralTemplates) {
  WriteTokenizerConfig(Json::array({{{"name", "tool_use"}, {"template", kUnknown}}}));
  EXPECT_TRUE(Load()->chat_template_problem.empty());
  WriteTokenizerConfig(Json::array({{{"name", "default"}, {"template", kUnknown}}}));
  EXPECT_FALSE(Load()->chat_template_problem.empty());
}

TEST_F(TinyChatModel, PrefersTheTemplateInAFileOfItsOwn) {
  WriteTokenizerConfig(nullptr);
  folder_.Write("chat_template.jinja", kUnknown);
  EXPECT_FALSE(Load()->chat_template_problem.empty());
}

TEST_F(TinyChatModel, IsRefusedWhenItsTemplateIsNoText) {
  WriteTokenizerConfig(7);
  EXPECT_CONTAINS(Refusal(), "chat_template");
  WriteTokenizerConfig(Json::array({7}));
  EXPECT_CONTAINS(Refusal(), "chat_template");
}

TEST(ModelFolder, IsRefusedWhenItIsNone) {
  TestFolder folder;
  EXPECT_CONTAINS(LoadModel(folder.path() / "none").status().message(), "does not exist");
  EXPECT_CONTAINS(LoadModel(folder.path()).status().message(), "no config.json");
  EXPECT_CONTAINS(LoadModel(folder.Write("x.bin", "weights")).status().message(), "is a file");
}

TEST(ModelFolder, IsRefusedWithABrokenConfig) {
  TestFolder folder;
  for (const char* text : {"", "{", "[]", "{}"}) {
    folder.Write("config.json", text);
    EXPECT_CONTAINS(LoadModel(folder.path()).status().message(), "config.json");
  }
}

TEST(ModelFolder, HoldsTheDemoModel) {
  const auto model = LoadModel(kDemo);
  ASSERT_TRUE(model.ok()) << model.status().message();
  const Model& demo = **model;
  EXPECT_EQ(demo.config.TotalParameters(), 14'453'504);  // half of the bytes of its data
  EXPECT_EQ(demo.weights.lm_head.data, demo.weights.embedding.data);
  EXPECT_EQ(demo.weights.layers.size(), 4u);
  EXPECT_EQ(demo.tokenizer->vocab_size(), kDemoVocabulary);
  EXPECT_EQ(demo.generation.end_tokens, (std::vector<int32_t>{4093}));
  EXPECT_FALSE(demo.chat_template.has_value());
  EXPECT_TRUE(demo.chat_template_problem.empty());
}

TEST(ModelFolder, HoldsAReferenceModelInOneFile) {
  const fs::path folder = SharedData("goldens/qwen3-moe");
  NPUMOE_NEEDS_DATA(folder);
  const auto model = LoadModel(folder);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ((*model)->weights.embedding.dtype, DType::kBF16);
  EXPECT_EQ((*model)->weights.layers[2].experts.size(), 16u);
}

TEST(ModelFolder, HoldsAReferenceModelInShardsWithADenseLayerAndBiases) {
  const fs::path folder = SharedData("goldens/qwen3-moe-mixed");
  NPUMOE_NEEDS_DATA(folder);
  const auto model = LoadModel(folder);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ((*model)->config.MoeLayers(), (std::vector<int>{0, 2, 3}));
  EXPECT_EQ((*model)->config.TotalParameters(), 435'904);  // stands in its index
  EXPECT_EQ((*model)->weights.layers[1].dense.down.shape, Shape({64, 96}));
  EXPECT_EQ((*model)->weights.layers[3].attention.o_bias.shape, Shape({64}));
}

TEST(ModelFolder, HoldsAReferenceModelWithFusedExpertsOfWhichCopiesLive) {
  const fs::path folder = SharedData("goldens/gpt-oss");
  NPUMOE_NEEDS_DATA(folder);
  const auto model = LoadModel(folder);
  ASSERT_TRUE(model.ok()) << model.status().message();
  const FfnWeights& expert = (*model)->weights.layers[3].experts[7];
  EXPECT_EQ(expert.gate.shape, Shape({64, 64}));
  EXPECT_EQ(expert.down_bias.shape, Shape({64}));
  // Of each expert gate, up, down and two of the biases, and the file itself.
  EXPECT_EQ((*model)->weights.storage.size(), 4u * 8 * 5 + 1);
}

}  // namespace
}  // namespace npumoe
