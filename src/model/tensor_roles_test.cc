#include "model/tensor_roles.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "model/synthetic.h"
#include "model/weight_binding.h"

namespace npumoe {
namespace {

std::vector<ModelConfig> ConfigsOfAllFamilies() {
  std::vector<ModelConfig> configs;
  for (const ModelFamily* family : AllFamilies()) {
    const auto config = SmallConfigOf(family->model_type);
    EXPECT_TRUE(config.ok()) << config.status().message();
    if (config.ok()) configs.push_back(*config);
  }
  return configs;
}

std::vector<ExpectedTensor> TensorsOf(const ModelConfig& config) {
  std::vector<ExpectedTensor> tensors;
  const auto add = [&tensors](const ExpectedTensor& tensor) {
    tensors.push_back(tensor);
    return OkStatus();
  };
  EXPECT_TRUE(ForEachExpectedTensor(*FindFamily(config.family), config, add).ok());
  return tensors;
}

TEST(TensorRoles, HaveANameInEveryFamilyWhoseModelsHaveThem) {
  for (const ModelConfig& config : ConfigsOfAllFamilies()) {
    std::set<TensorRole> named;
    for (const ExpectedTensor& tensor : TensorsOf(config)) named.insert(tensor.role);
    std::set<TensorRole> needed;
    for (const TensorRole role : AllTensorRoles()) {
      for (int layer = 0; layer < config.num_layers; ++layer) {
        if (HasTensor(role, config, layer)) needed.insert(role);
      }
    }
    EXPECT_EQ(named, needed) << config.family;
  }
}

TEST(TensorRoles, GiveEveryTensorANameOfItsOwn) {
  for (const ModelConfig& config : ConfigsOfAllFamilies()) {
    std::set<std::string> names;
    for (const ExpectedTensor& tensor : TensorsOf(config)) {
      EXPECT_TRUE(names.insert(tensor.name).second) << tensor.name;
      EXPECT_EQ(tensor.name.find('{'), std::string::npos) << tensor.name;
    }
  }
}

TEST(TensorRoles, AddUpToTheParametersOfTheModel) {
  for (const ModelConfig& config : ConfigsOfAllFamilies()) {
    int64_t elements = 0;
    for (const ExpectedTensor& tensor : TensorsOf(config)) {
      if (tensor.required) elements += tensor.shape.elements();
    }
    EXPECT_EQ(elements, config.TotalParameters()) << config.family;
  }
}

// Of the experts' tensors a token reads those of the experts that it chooses, of the others all.
TEST(TensorRoles, AddUpToTheActiveParameters) {
  for (const ModelConfig& config : ConfigsOfAllFamilies()) {
    int64_t active = 0;
    for (const ExpectedTensor& tensor : TensorsOf(config)) {
      const bool chosen = ScopeOf(tensor.role) != RoleScope::kExpert ||
                          tensor.expert < config.moe.experts_per_token;
      if (tensor.required && chosen) active += tensor.shape.elements();
    }
    EXPECT_EQ(active, config.ActiveParameters()) << config.family;
  }
}

TEST(TensorRoles, AddUpToTheParametersOfAnExpert) {
  for (const ModelConfig& config : ConfigsOfAllFamilies()) {
    const int layer = config.MoeLayers().back();
    int64_t elements = 0;
    for (const ExpectedTensor& tensor : TensorsOf(config)) {
      const bool of_expert = ScopeOf(tensor.role) == RoleScope::kExpert;
      if (of_expert && tensor.layer == layer && tensor.expert == 1) {
        elements += tensor.shape.elements();
      }
    }
    EXPECT_EQ(elements, config.ExpertParameters()) << config.family;
  }
}

TEST(TensorRoles, PutEveryTensorIntoAPlaceOfItsOwn) {
  const std::byte any_byte{};
  for (const ModelConfig& config : ConfigsOfAllFamilies()) {
    const std::vector<ExpectedTensor> tensors = TensorsOf(config);
    ModelWeights weights;
    for (const ExpectedTensor& tensor : tensors) {
      EXPECT_EQ(PlacedTensor(tensor, weights), nullptr) << tensor.name;
      PlaceTensor(tensor, {DType::kF32, tensor.shape, &any_byte}, weights);
    }
    std::set<const TensorView*> places;
    for (const ExpectedTensor& tensor : tensors) {
      const TensorView* place = PlacedTensor(tensor, weights);
      ASSERT_NE(place, nullptr) << tensor.name;
      EXPECT_EQ(place->shape, tensor.shape) << tensor.name;
      EXPECT_TRUE(places.insert(place).second) << tensor.name;
    }
    for (const int layer : config.MoeLayers()) {
      EXPECT_EQ(weights.layers[static_cast<size_t>(layer)].experts.size(),
                static_cast<size_t>(config.moe.expert_count()));
    }
  }
}

TEST(TensorRoles, KnowTheShapesOfLatentAttention) {
  const ModelConfig config = SmallConfigOf("deepseek_v2").value();
  EXPECT_EQ(ShapeOf(TensorRole::kQueryDown, config), Shape({256, 256}));
  EXPECT_EQ(ShapeOf(TensorRole::kQueryUp, config), Shape({4 * (64 + 32), 256}));
  EXPECT_EQ(ShapeOf(TensorRole::kKeyValueDown, config), Shape({256 + 32, 256}));
  EXPECT_EQ(ShapeOf(TensorRole::kKeyValueUp, config), Shape({4 * (64 + 64), 256}));
  EXPECT_EQ(ShapeOf(TensorRole::kO, config), Shape({256, 4 * 64}));
  EXPECT_FALSE(HasTensor(TensorRole::kQ, config, 0));
  EXPECT_FALSE(HasTensor(TensorRole::kK, config, 0));
}

}  // namespace
}  // namespace npumoe
