#include "cli/weight_classes.h"

#include <fmt/format.h>

#include <functional>
#include <set>

#include "base/check.h"
#include "convert/tensor_kinds.h"
#include "convert/types.h"

namespace npumoe::cli {
namespace {

using Role = TensorRole;
using Visit = std::function<void(TensorRole role, const TensorView& view)>;

struct FfnRoles {
  TensorRole gate, up, down;
};
constexpr FfnRoles kRouted = {Role::kExpertGate, Role::kExpertUp, Role::kExpertDown};
constexpr FfnRoles kShared = {Role::kSharedExpertGate, Role::kSharedExpertUp,
                              Role::kSharedExpertDown};
constexpr FfnRoles kDense = {Role::kDenseGate, Role::kDenseUp, Role::kDenseDown};

void VisitFfn(const FfnRoles& roles, const FfnWeights& ffn, const Visit& visit) {
  visit(roles.gate, ffn.gate);
  visit(roles.up, ffn.up);
  visit(roles.down, ffn.down);
  for (const TensorView& bias : {ffn.gate_bias, ffn.up_bias, ffn.down_bias}) {
    visit(Role::kExpertGateBias, bias);
  }
}

void VisitAttention(const AttentionWeights& a, const Visit& visit) {
  visit(Role::kQ, a.q);
  visit(Role::kK, a.k);
  visit(Role::kV, a.v);
  visit(Role::kO, a.o);
  visit(Role::kQueryDown, a.latent.q_a);
  visit(Role::kQueryUp, a.latent.q_b);
  visit(Role::kKeyValueDown, a.latent.kv_a);
  visit(Role::kKeyValueUp, a.latent.kv_b);
  for (const TensorView& small : {a.q_bias, a.k_bias, a.v_bias, a.o_bias, a.q_norm, a.k_norm,
                                  a.sinks, a.latent.q_a_norm, a.latent.kv_a_norm}) {
    visit(Role::kAttentionNorm, small);
  }
}

void VisitLayer(const LayerWeights& layer, size_t routed, const Visit& visit) {
  VisitAttention(layer.attention, visit);
  for (const TensorView& small : {layer.attention_norm, layer.ffn_norm, layer.attention_norm_bias,
                                  layer.ffn_norm_bias, layer.router_bias}) {
    visit(Role::kAttentionNorm, small);
  }
  visit(Role::kRouter, layer.router);
  visit(Role::kSharedGate, layer.shared_gate);
  for (size_t i = 0; i < layer.experts.size(); ++i) {
    VisitFfn(i < routed ? kRouted : kShared, layer.experts[i], visit);
  }
  VisitFfn(kDense, layer.dense, visit);
}

void VisitWeights(const ModelWeights& weights, const Visit& visit_any) {
  const auto visit = [&visit_any](TensorRole role, const TensorView& view) {
    if (!view.empty()) visit_any(role, view);
  };
  visit(Role::kEmbedding, weights.embedding);
  if (weights.lm_head.data != weights.embedding.data) visit(Role::kLmHead, weights.lm_head);
  for (const TensorView& small :
       {weights.final_norm, weights.final_norm_bias, weights.lm_head_bias}) {
    visit(Role::kFinalNorm, small);
  }
  for (const LayerWeights& layer : weights.layers) {
    // The router has a row for each routed expert.
    const size_t routed = layer.router.empty() ? 0 : static_cast<size_t>(layer.router.shape[0]);
    VisitLayer(layer, routed, visit);
  }
}

// Why a matrix of this type is not of the wanted one; empty: it is, or nobody asked for that.
std::string WhyNot(const TypePolicy& policy, Asked asked, TensorRole role, const TensorView& view) {
  if (IsSmallRole(role, view.shape) || view.dtype == policy.wanted) return "";
  const auto choice = TargetType(policy, {role, DType::kF32, view.shape});
  NPUMOE_CHECK(choice.ok());  // plain numbers can become any type
  if (choice->cause == TypeCause::kRows && choice->type == view.dtype) return choice->why;
  if (asked == Asked::kGuessed) return choice->cause == TypeCause::kRows ? choice->why : "";
  if (choice->cause == TypeCause::kCareful && choice->type == view.dtype) return choice->why;
  return IsQuantized(view.dtype) ? "it was quantised already" : "it was left as it is";
}

}  // namespace

std::vector<WeightClass> WeightClasses(const ModelWeights& weights) {
  std::vector<WeightClass> classes;
  for (const char* name : {"embedding", "attention", "router", "experts", "shared expert",
                           "dense FFN", "head", "norms and biases"}) {
    classes.push_back({name, {}});
  }
  VisitWeights(weights, [&](TensorRole role, const TensorView& view) {
    for (WeightClass& found : classes) {
      if (found.name != ClassOf(role)) continue;
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

std::vector<std::string> FallbackKinds(const ModelWeights& weights, DType wanted, Asked asked) {
  std::set<std::string> kinds;
  if (!IsQuantized(wanted)) return {};
  TypePolicy policy;
  policy.rule = TypeRule::kWanted;
  policy.wanted = wanted;
  VisitWeights(weights, [&](TensorRole role, const TensorView& view) {
    const std::string why = WhyNot(policy, asked, role, view);
    if (why.empty()) return;
    kinds.insert(
        fmt::format("{}: {} instead of {}: {}", KindOf(role), Name(view.dtype), Name(wanted), why));
  });
  return {kinds.begin(), kinds.end()};
}

}  // namespace npumoe::cli
