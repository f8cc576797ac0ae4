#include "plan/layer_dispatch.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace npumoe {

LayerDispatch::LayerDispatch(const LayerPlan& layer, int num_experts)
    : program_of_(static_cast<size_t>(num_experts), -1),
      capacity_of_(static_cast<size_t>(num_experts), 0) {
  for (const PlannedProgram& program : layer.programs) {
    for (const PlannedExpert& expert : program.experts) {
      const auto index = static_cast<size_t>(expert.expert);
      NPUMOE_CHECK(expert.expert >= 0 && index < program_of_.size());
      program_of_[index] = static_cast<int>(programs_.size());
      capacity_of_[index] = expert.capacity;
    }
    Program entry{{}, program.Buckets(), {}};
    for (const PlannedExpert& expert : program.experts) entry.experts.push_back(expert.expert);
    for (const std::vector<int64_t>& bucket : entry.buckets) {
      entry.capacity_rows.push_back(std::accumulate(bucket.begin(), bucket.end(), int64_t{0}));
    }
    programs_.push_back(std::move(entry));
  }
}

size_t LayerDispatch::BucketFor(size_t program, std::span<const int32_t> loads) const {
  const Program& entry = programs_[program];
  return SmallestBucket(entry.buckets, [&](size_t i) {
    return std::min<int64_t>(loads[static_cast<size_t>(entry.experts[i])], entry.buckets.back()[i]);
  });
}

DispatchCounts CountDispatch(const LayerPlan& layer, std::span<const int32_t> loads,
                             OverflowMode overflow) {
  const LayerDispatch dispatch(layer, static_cast<int>(loads.size()));
  std::vector<int64_t> filled(dispatch.programs());
  return dispatch.Count(loads, ChunkPlace::kNpu, overflow, filled, [](size_t, int64_t) {});
}

}  // namespace npumoe
