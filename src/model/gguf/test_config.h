// For tests only: GGUF metadata of published models, as it is and with something changed.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/config.h"
#include "model/gguf/architecture.h"
#include "model/gguf/gguf_config.h"
#include "model/gguf/test_gguf.h"

namespace npumoe {

inline const std::filesystem::path kTestConfigs = NPUMOE_SOURCE_DIR "/tests/data/configs";

inline ModelConfig ReadConfig(const std::string& name) {
  const auto json = ReadJsonFile(kTestConfigs / name);
  NPUMOE_CHECK(json.ok());
  auto config = ParseModelConfig(*json, name);
  NPUMOE_CHECK(config.ok());
  return *config;
}

// The keys of a config, and tensors without data that show what keys do not say.
struct FakeGguf {
  explicit FakeGguf(const ModelConfig& config) {
    AddConfigToGguf(config, builder);
    AddTensors(config);
  }

  void AddTensors(const ModelConfig& config) {
    const GgufArchitecture* architecture = GgufArchitectureOfFamily(config.family);
    for (const TensorRole role :
         {TensorRole::kEmbedding, TensorRole::kLmHead, TensorRole::kLmHeadBias, TensorRole::kQBias,
          TensorRole::kOBias}) {
      if (!HasTensor(role, config, 0)) continue;
      if (role == TensorRole::kLmHead && config.tie_word_embeddings) continue;
      tensors[GgufTensorName(*architecture, role, 0)] = {DType::kF32, ShapeOf(role, config),
                                                         nullptr};
    }
    const auto* rope = std::get_if<LongRopeScaling>(&config.rope.scaling);
    if (rope == nullptr) return;
    long_factors.assign(rope->long_factors.begin(), rope->long_factors.end());
    short_factors.assign(rope->short_factors.begin(), rope->short_factors.end());
    tensors[kGgufLongFactors] = ViewOf(long_factors);
    tensors[kGgufShortFactors] = ViewOf(short_factors);
  }

  static TensorView ViewOf(const std::vector<float>& values) {
    return {DType::kF32, Shape({static_cast<int64_t>(values.size())}),
            reinterpret_cast<const std::byte*>(values.data())};
  }

  Result<ModelConfig> Read() {
    file = FileWith({}, 0, builder).Parse();
    NPUMOE_CHECK(file->ok());
    return ConfigFromGguf((*file)->metadata(), tensors);
  }

  GgufMetadataBuilder builder;
  std::map<std::string, TensorView> tensors;
  std::vector<float> long_factors, short_factors;
  std::optional<Result<GgufFile>> file;
};

// The keys of a published model without `key` and with what `add` adds.
inline Result<ModelConfig> ConfigWith(const std::string& name, const std::string& key,
                                      const std::function<void(GgufMetadataBuilder&)>& add) {
  const ModelConfig config = ReadConfig(name);
  FakeGguf usual(config);
  NPUMOE_CHECK(usual.Read().ok());
  FakeGguf changed(config);
  changed.builder = GgufMetadataBuilder();
  for (const auto& [other, value] : (*usual.file)->metadata().values()) {
    if (other != key) changed.builder.AddCopy(other, value);
  }
  add(changed.builder);
  return changed.Read();
}

}  // namespace npumoe
