// Every reference model: all tensors bound, none left over, single weights where numpy reads them
// (tools/make_binding_samples.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/safetensors.h"
#include "model/test_folder.h"
#include "model/weight_binding.h"

namespace npumoe {
namespace {

float Element(const TensorView& tensor, int64_t row, int64_t column) {
  const int64_t columns = tensor.shape.rank() == 1 ? 1 : tensor.shape[1];
  const int64_t i = row * columns + column;
  if (tensor.dtype == DType::kF32) return tensor.as<float>()[i];
  const uint16_t bits = tensor.as<uint16_t>()[i];
  return tensor.dtype == DType::kF16 ? F32FromF16(bits) : F32FromBF16(bits);
}

class ReferenceModel : public ::testing::TestWithParam<const char*> {};

TEST_P(ReferenceModel, IsBoundToTheWeightsThatNumpyReads) {
  const auto folder = SharedData("goldens") / GetParam();
  NPUMOE_NEEDS_DATA(folder);
  const auto config_json = ReadJsonFile(folder / "config.json");
  ASSERT_TRUE(config_json.ok());
  const auto config = ParseModelConfig(*config_json, "config.json");
  ASSERT_TRUE(config.ok()) << config.status().message();
  const auto files = SafetensorsFolder::Open(folder);
  ASSERT_TRUE(files.ok()) << files.status().message();
  const auto weights = BindWeights(*config, files->tensors(), folder.string(),
                                   [](const std::string&) { return "file"; });
  ASSERT_TRUE(weights.ok()) << weights.status().message();

  const auto all = ReadJsonFile(NPUMOE_SOURCE_DIR "/tests/data/binding/samples.json");
  ASSERT_TRUE(all.ok()) << all.status().message();
  const Json& samples = (*all)[GetParam()];
  size_t found = 0;
  const auto compare = [&](const ExpectedTensor& tensor) {
    if (!samples.contains(tensor.name)) return OkStatus();
    ++found;
    const TensorView* view = PlacedTensor(tensor, *weights);
    EXPECT_NE(view, nullptr) << tensor.name;
    if (view == nullptr) return OkStatus();
    EXPECT_EQ(view->shape, tensor.shape) << tensor.name;
    for (const Json& sample : samples[tensor.name]) {
      EXPECT_EQ(Element(*view, sample[0].get<int64_t>(), sample[1].get<int64_t>()),
                sample[2].get<float>())
          << tensor.name << " " << sample.dump();
    }
    return OkStatus();
  };
  ASSERT_TRUE(ForEachExpectedTensor(*FindFamily(config->family), *config, compare).ok());
  EXPECT_EQ(found, samples.size());
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceModel,
                         ::testing::Values("deepseek-v2", "deepseek-v2-yarn", "gpt-oss",
                                           "granite-moe", "mixtral", "mixtral-window", "olmoe",
                                           "olmoe-clip", "phi-moe", "phi-tiny-moe", "qwen2-moe",
                                           "qwen3-moe", "qwen3-moe-mixed", "qwen3-moe-yarn"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace npumoe
