// ModelVectors: biases and sinks of a model in fp32, as kernels take them: where they lie when the
// file has F32, else a copy that this owns.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "kernels/expert/expert.h"
#include "model/model.h"

namespace npumoe {

// Empty where the model has none.
struct FfnBiases {
  std::span<const float> gate, up, down;
};

struct LayerVectors {
  std::span<const float> q_bias, k_bias, v_bias, o_bias;
  std::span<const float> sinks;
  std::span<const float> router_bias;
  std::vector<FfnBiases> experts;  // [expert_count]
  FfnBiases dense;
};

// Tensors as fp32; what it returns lives as long as it and the tensors do.
class FloatVectors {
 public:
  std::span<const float> Of(const TensorView& tensor);
  FfnBiases BiasesOf(const FfnWeights& ffn);

 private:
  std::deque<std::vector<float>> copies_;
};

class ModelVectors {
 public:
  explicit ModelVectors(const ModelWeights& weights);
  ModelVectors(const ModelVectors&) = delete;
  ModelVectors& operator=(const ModelVectors&) = delete;

  const LayerVectors& Layer(int layer) const { return layers_[static_cast<size_t>(layer)]; }
  std::span<const float> lm_head_bias() const { return lm_head_bias_; }

 private:
  FloatVectors floats_;
  std::vector<LayerVectors> layers_;
  std::span<const float> lm_head_bias_;
};

// One FFN as kernels take it.
SwiGluWeights WeightsForKernel(const ModelConfig& config, const FfnWeights& ffn,
                               const FfnBiases& biases);

}  // namespace npumoe
