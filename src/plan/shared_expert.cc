#include "plan/shared_expert.h"

#include "base/checked_math.h"
#include "plan/program_limits.h"

namespace npumoe {

SharedExpert PlanSharedExpert(const CostModel& costs, int64_t chunk_tokens, size_t moe_layers) {
  const ModelConfig& config = costs.config();
  SharedExpert shared;
  shared.expert = config.moe.num_experts;
  shared.eligible.assign(moe_layers, true);
  if (!config.moe.has_shared_expert()) return shared;
  shared.capacity = RoundUp(chunk_tokens, costs.profile().limits.capacity_quantum);
  shared.weight_bytes = costs.ExpertProgramBytes(shared.expert);
  shared.on_cpu.cpu_ms = costs.CpuExpertMs(shared.expert, chunk_tokens);
  shared.form = SharedForm(costs);
  if (!shared.form) return shared;
  const LaunchCost launch = costs.LaunchAtCapacity(shared.Program());
  shared.on_npu.npu_ms = launch.total_ms();
  shared.on_npu.npu_j = launch.energy_j;
  shared.on_npu.npu_rows = static_cast<double>(chunk_tokens);
  shared.on_npu.cpu_ms = costs.SpotCheckMs(shared.expert);
  return shared;
}

ChunkLoads WithSharedExpert(const ChunkLoads& loads, const MoeConfig& moe) {
  if (!moe.has_shared_expert()) return loads;
  const auto experts = static_cast<size_t>(loads.num_experts);
  ChunkLoads all = loads;
  all.num_experts = moe.expert_count();
  for (std::vector<int32_t>& layer : all.layers) {
    std::vector<int32_t> wider;
    for (size_t row = 0; row < layer.size(); row += experts) {
      const auto begin = layer.begin() + static_cast<ptrdiff_t>(row);
      wider.insert(wider.end(), begin, begin + static_cast<ptrdiff_t>(experts));
      wider.push_back(loads.chunk_tokens);
    }
    layer = std::move(wider);
  }
  return all;
}

}  // namespace npumoe
