#include "eval/routing_agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <vector>

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

std::vector<int32_t> Sorted(std::span<const int32_t> ids) {
  std::vector<int32_t> sorted(ids.begin(), ids.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}  // namespace

Result<RoutingAgreement> CompareRouting(const RoutingTrace& reference,
                                        const RoutingTrace& candidate) {
  NPUMOE_RETURN_IF_ERROR(CheckComparable(reference, candidate));
  RoutingAgreement agreement;
  const auto k = static_cast<size_t>(reference.experts_per_token);
  for (size_t l = 0; l < reference.layers.size(); ++l) {
    const std::span<const int32_t> wanted(reference.layers[l].ids);
    const std::span<const int32_t> got(candidate.layers[l].ids);
    for (size_t first = 0; first < wanted.size(); first += k) {
      ++agreement.decisions;
      agreement.different += Sorted(wanted.subspan(first, k)) != Sorted(got.subspan(first, k));
    }
  }
  return agreement;
}

}  // namespace npumoe
