#include "base/check.h"
#include "kernels/dispatch/dispatch.h"

namespace npumoe {

void BuildExpertLists(std::span<const int32_t> ids, int experts_per_token, int num_experts,
                      ExpertLists& lists) {
  NPUMOE_CHECK(experts_per_token > 0 && ids.size() % static_cast<size_t>(experts_per_token) == 0);
  lists.offsets.assign(static_cast<size_t>(num_experts) + 1, 0);
  lists.assignments.resize(ids.size());
  for (int32_t id : ids) {
    NPUMOE_CHECK(id >= 0 && id < num_experts);
    ++lists.offsets[static_cast<size_t>(id) + 1];
  }
  for (size_t e = 0; e < static_cast<size_t>(num_experts); ++e) {
    lists.offsets[e + 1] += lists.offsets[e];
  }
  // offsets[e] serves as the write position of expert e, and so ends at its successor's begin.
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto e = static_cast<size_t>(ids[i]);
    lists.assignments[static_cast<size_t>(lists.offsets[e]++)] = static_cast<int32_t>(i);
  }
  for (auto e = static_cast<size_t>(num_experts); e > 0; --e) {
    lists.offsets[e] = lists.offsets[e - 1];
  }
  lists.offsets[0] = 0;
}

}  // namespace npumoe
