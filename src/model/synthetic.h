// Synthetic models: random weights from a seed in the shape of a real one, for benchmarks and
// tests where no checkpoint is at hand. The numbers mean nothing; shapes, types and the amount of
// work are real.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/dtype.h"
#include "model/model.h"

namespace npumoe {

struct SyntheticOptions {
  ModelConfig config;
  DType dtype = DType::kBF16;
  uint64_t seed = 1;
};

// The layer shape of Qwen3-30B-A3B with `num_layers` layers.
ModelConfig Qwen3_30B_A3B_Config(int num_layers);

// A model of a megabyte with everything that is special about a family: of the kinds of layers,
// positions and routing that it has. An unknown type lists the known ones.
Result<ModelConfig> SmallConfigOf(std::string_view model_type);

// Weights in memory, scaled so that activations stay near 1. Fast: several GB a second.
Result<std::shared_ptr<const Model>> MakeSyntheticModel(const SyntheticOptions& options);

}  // namespace npumoe
