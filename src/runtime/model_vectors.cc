#include "runtime/model_vectors.h"

#include <cstdint>

#include "kernels/convert/convert.h"

namespace npumoe {

ModelVectors::ModelVectors(const ModelWeights& weights)
    : lm_head_bias_(floats_.Of(weights.lm_head_bias)) {
  for (const LayerWeights& layer : weights.layers) {
    const AttentionWeights& attention = layer.attention;
    LayerVectors& vectors = layers_.emplace_back();
    vectors.q_bias = floats_.Of(attention.q_bias);
    vectors.k_bias = floats_.Of(attention.k_bias);
    vectors.v_bias = floats_.Of(attention.v_bias);
    vectors.o_bias = floats_.Of(attention.o_bias);
    vectors.sinks = floats_.Of(attention.sinks);
    vectors.router_bias = floats_.Of(layer.router_bias);
    for (const FfnWeights& expert : layer.experts)
      vectors.experts.push_back(floats_.BiasesOf(expert));
    vectors.dense = floats_.BiasesOf(layer.dense);
  }
}

std::span<const float> FloatVectors::Of(const TensorView& tensor) {
  if (tensor.empty()) return {};
  const auto size = static_cast<size_t>(tensor.shape.elements());
  const bool aligned = reinterpret_cast<uintptr_t>(tensor.data) % alignof(float) == 0;
  if (tensor.dtype == DType::kF32 && aligned) return {tensor.as<float>(), size};
  std::vector<float>& copy = copies_.emplace_back(size);
  ToF32(tensor, 0, copy);
  return copy;
}

FfnBiases FloatVectors::BiasesOf(const FfnWeights& ffn) {
  return {Of(ffn.gate_bias), Of(ffn.up_bias), Of(ffn.down_bias)};
}

SwiGluWeights WeightsForKernel(const ModelConfig& config, const FfnWeights& ffn,
                               const FfnBiases& biases) {
  const bool clamped = config.moe.activation == ExpertActivation::kClampedSwiGlu;
  return {ffn.gate,
          ffn.up,
          ffn.down,
          biases.gate,
          biases.up,
          biases.down,
          clamped ? config.moe.activation_limit : 0};
}

}  // namespace npumoe
