#include "cli/weight_classes.h"

#include <fmt/format.h>

#include <set>
#include <string_view>

namespace npumoe::cli {
namespace {

// `part`: "gate", "q", ... inside the class.
using Visit =
    std::function<void(std::string_view name, std::string_view part, const TensorView& view)>;

void VisitFfn(std::string_view name, const FfnWeights& ffn, const Visit& visit) {
  visit(name, "gate", ffn.gate);
  visit(name, "up", ffn.up);
  visit(name, "down", ffn.down);
  for (const TensorView& bias : {ffn.gate_bias, ffn.up_bias, ffn.down_bias}) {
    visit("norms and biases", "bias", bias);
  }
}

void VisitAttention(const AttentionWeights& a, const Visit& visit) {
  visit("attention", "q", a.q);
  visit("attention", "k", a.k);
  visit("attention", "v", a.v);
  visit("attention", "output", a.o);
  visit("attention", "q_a", a.latent.q_a);
  visit("attention", "q_b", a.latent.q_b);
  visit("attention", "kv_a", a.latent.kv_a);
  visit("attention", "kv_b", a.latent.kv_b);
  for (const TensorView& small : {a.q_bias, a.k_bias, a.v_bias, a.o_bias, a.q_norm, a.k_norm,
                                  a.sinks, a.latent.q_a_norm, a.latent.kv_a_norm}) {
    visit("norms and biases", "norm", small);
  }
}

void VisitLayer(const LayerWeights& layer, size_t routed, const Visit& visit) {
  VisitAttention(layer.attention, visit);
  for (const TensorView& small : {layer.attention_norm, layer.ffn_norm, layer.attention_norm_bias,
                                  layer.ffn_norm_bias, layer.router_bias}) {
    visit("norms and biases", "norm", small);
  }
  visit("router", "router", layer.router);
  visit("router", "shared gate", layer.shared_gate);
  for (size_t i = 0; i < layer.experts.size(); ++i) {
    VisitFfn(i < routed ? "experts" : "shared expert", layer.experts[i], visit);
  }
  VisitFfn("dense FFN", layer.dense, visit);
}

void VisitWeights(const ModelWeights& weights, const Visit& visit_any) {
  const auto visit = [&visit_any](std::string_view name, std::string_view part,
                                  const TensorView& view) {
    if (!view.empty()) visit_any(name, part, view);
  };
  visit("embedding", "embedding", weights.embedding);
  if (weights.lm_head.data != weights.embedding.data) visit("head", "head", weights.lm_head);
  for (const TensorView& small :
       {weights.final_norm, weights.final_norm_bias, weights.lm_head_bias}) {
    visit("norms and biases", "norm", small);
  }
  for (const LayerWeights& layer : weights.layers) {
    // The router has a row for each routed expert.
    const size_t routed = layer.router.empty() ? 0 : static_cast<size_t>(layer.router.shape[0]);
    VisitLayer(layer, routed, visit);
  }
}

}  // namespace

std::vector<WeightClass> WeightClasses(const ModelWeights& weights) {
  std::vector<WeightClass> classes;
  for (const char* name : {"embedding", "attention", "router", "experts", "shared expert",
                           "dense FFN", "head", "norms and biases"}) {
    classes.push_back({name, {}});
  }
  VisitWeights(weights, [&](std::string_view name, std::string_view, const TensorView& view) {
    for (WeightClass& found : classes) {
      if (found.name != name) continue;
      TypeCount& count = found.types[view.dtype];
      ++count.tensors;
      count.elements += view.shape.elements();
      count.bytes += static_cast<int64_t>(view.bytes());
    }
  });
  std::erase_if(classes, [](const WeightClass& c) { return c.types.empty(); });
  return classes;
}

int64_t TotalBytes(const std::vector<WeightClass>& classes) {
  int64_t bytes = 0;
  for (const WeightClass& c : classes) {
    for (const auto& [type, count] : c.types) bytes += count.bytes;
  }
  return bytes;
}

std::string DescribeTypes(const WeightClass& weights) {
  if (weights.types.size() == 1) return Name(weights.types.begin()->first);
  const int64_t total = TotalBytes({weights});
  std::string text;
  for (const auto& [type, count] : weights.types) {
    const double share = 100.0 * static_cast<double>(count.bytes) / static_cast<double>(total);
    text += fmt::format("{}{} {:.0f}%", text.empty() ? "" : ", ", Name(type), share);
  }
  return text;
}

std::vector<std::string> FallbackKinds(const ModelWeights& weights, DType wanted) {
  std::set<std::string> kinds;
  if (!IsQuantized(wanted)) return {};
  VisitWeights(weights, [&](std::string_view name, std::string_view part, const TensorView& view) {
    if (view.shape.rank() < 2 || name == "router" || view.dtype == wanted) return;
    const int64_t row = view.shape[view.shape.rank() - 1];
    if (row % BlockElements(wanted) == 0) return;
    kinds.insert(fmt::format("{} {} ({}, rows of {})", name, part, Name(view.dtype), row));
  });
  return {kinds.begin(), kinds.end()};
}

}  // namespace npumoe::cli
