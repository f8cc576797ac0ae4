#include "eval/routing_agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"

namespace npumoe {
namespace {

Status CheckComparable(const RoutingTrace& a, const RoutingTrace& b) {
  const bool same_model =
      a.num_experts == b.num_experts && a.experts_per_token == b.experts_per_token &&
      std::equal(a.layers.begin(), a.layers.end(), b.layers.begin(), b.layers.end(),
                 [](const LayerRouting& x, const LayerRouting& y) { return x.layer == y.layer; });
  if (!same_model) return InvalidInput("routing traces of two models cannot be compared");
  if (a.tokens() == b.tokens()) return OkStatus();
  return InvalidInput(
      fmt::format("routing traces of {} and {} tokens cannot be compared", a.tokens(), b.tokens()));
}

// What one token chose in one layer: weights by expert, in the order of the experts.
std::map<int32_t, float> DecisionOf(const LayerRouting& layer, size_t token, size_t k) {
  std::map<int32_t, float> decision;
  for (size_t i = token * k; i < (token + 1) * k; ++i) {
    decision[layer.ids[i]] = layer.weights.empty() ? 0 : layer.weights[i];
  }
  return decision;
}

bool IsSame(const std::map<int32_t, float>& a, const std::map<int32_t, float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && std::abs(x.second - y.second) <= kWeightJump;
  });
}

}  // namespace

Result<RoutingAgreement> CompareRouting(const RoutingTrace& reference,
                                        const RoutingTrace& candidate) {
  NPUMOE_RETURN_IF_ERROR(CheckComparable(reference, candidate));
  RoutingAgreement agreement;
  const auto tokens = static_cast<size_t>(reference.tokens());
  const auto k = static_cast<size_t>(reference.experts_per_token);
  agreement.token_differs.assign(tokens, false);
  for (size_t l = 0; l < reference.layers.size(); ++l) {
    for (size_t token = 0; token < tokens; ++token) {
      ++agreement.decisions;
      if (IsSame(DecisionOf(reference.layers[l], token, k),
                 DecisionOf(candidate.layers[l], token, k))) {
        continue;
      }
      ++agreement.different;
      agreement.token_differs[token] = true;
    }
  }
  return agreement;
}

double MeanKlOfSameRouting(const ComparisonResult& comparison, const RoutingAgreement& agreement) {
  NPUMOE_CHECK(comparison.row_kl.size() == agreement.token_differs.size());
  double sum = 0;
  int64_t rows = 0;
  for (size_t row = 0; row < comparison.row_kl.size(); ++row) {
    if (agreement.token_differs[row]) continue;
    sum += comparison.row_kl[row];
    ++rows;
  }
  return rows == 0 ? 0 : sum / static_cast<double>(rows);
}

}  // namespace npumoe
