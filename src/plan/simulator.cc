#include "plan/simulator.h"

#include <fmt/format.h>

#include <algorithm>

#include "plan/attention_shape.h"
#include "plan/dense_costs.h"
#include "plan/replay.h"

namespace npumoe {
namespace {

Status CheckTraceFits(const Plan& plan, const RoutingTrace& trace, size_t sequence) {
  if (trace.num_experts != plan.num_experts || trace.experts_per_token != plan.experts_per_token) {
    return InvalidInput(fmt::format(
        "routing trace with {} experts, {} per token; the plan is for {} experts, {} per token",
        trace.num_experts, trace.experts_per_token, plan.num_experts, plan.experts_per_token));
  }
  if (sequence >= trace.sequence_starts.size()) {
    return InvalidInput(
        fmt::format("routing trace: sequence {} of {}", sequence, trace.sequence_starts.size()));
  }
  const bool same_layers =
      std::equal(plan.layers.begin(), plan.layers.end(), trace.layers.begin(), trace.layers.end(),
                 [](const LayerPlan& a, const LayerRouting& b) { return a.layer == b.layer; });
  if (!same_layers) {
    return InvalidInput(
        fmt::format("routing trace of {} MoE layers does not match the {} of the "
                    "plan; record it with the model that the plan was made for",
                    trace.layers.size(), plan.layers.size()));
  }
  return OkStatus();
}

Status CheckChunksFit(std::span<const ChunkSpan> chunks, int64_t tokens) {
  for (const ChunkSpan& chunk : chunks) {
    if (chunk.begin >= 0 && chunk.begin <= chunk.end && chunk.end <= tokens) continue;
    return InvalidInput(
        fmt::format("routing trace: a chunk of tokens {} to {}; the sequence has {}", chunk.begin,
                    chunk.end, tokens));
  }
  return OkStatus();
}

// The loads of CountLoads, of a trace that fits; the sequence starts at `first_token`.
std::vector<std::vector<int32_t>> CountTokens(const Plan& plan, const RoutingTrace& trace,
                                              int64_t first_token,
                                              std::span<const ChunkSpan> chunks) {
  const auto experts = static_cast<size_t>(plan.expert_count());
  const auto k = static_cast<size_t>(trace.experts_per_token);
  std::vector<std::vector<int32_t>> loads;
  for (const ChunkSpan& chunk : chunks) {
    std::vector<int32_t>& counts = loads.emplace_back(trace.layers.size() * experts, 0);
    const size_t begin = static_cast<size_t>(first_token + chunk.begin) * k;
    const size_t end = static_cast<size_t>(first_token + chunk.end) * k;
    for (size_t l = 0; l < trace.layers.size(); ++l) {
      const std::vector<int32_t>& ids = trace.layers[l].ids;
      for (size_t i = begin; i < end; ++i) ++counts[l * experts + static_cast<size_t>(ids[i])];
      if (plan.shared_intermediate_size > 0) {
        counts[(l + 1) * experts - 1] = static_cast<int32_t>(chunk.end - chunk.begin);
      }
    }
  }
  return loads;
}

// Predicted costs of a last partial chunk in all layers.
struct PartialCosts {
  double elapsed_ms = 0;
  double cpu_busy_ms = 0;
  double npu_energy_j = 0;
};

// The routed experts of one MoE layer on the CPU, all asked equally often: the loads are not known
// before the chunk has been routed.
double RoutedOnCpuMs(const CostModel& costs, int64_t tokens) {
  const MoeConfig& moe = costs.config().moe;
  const double assignments = static_cast<double>(tokens) * moe.experts_per_token;
  const double asked = std::min<double>(moe.num_experts, assignments);
  const auto rows = static_cast<int64_t>(assignments / asked + 0.5);
  return asked * costs.CpuExpertMs(rows);
}

double SharedOnCpuMs(const CostModel& costs, int64_t tokens) {
  const MoeConfig& moe = costs.config().moe;
  return moe.has_shared_expert() ? costs.CpuExpertMs(moe.num_experts, tokens) : 0;
}

// The launches at full capacity (static graphs compute every row), gather and combine, and the
// experts that are CPU work in either case.
void AddPartialOnNpu(const Plan& plan, const LayerPlan& layer, const CostModel& costs,
                     int64_t tokens, PartialCosts& sum) {
  double launches_ms = 0;
  double dispatch_ms = 0;
  int64_t residents = 0;  // routed
  int64_t shared = 0;
  for (const PlannedProgram& program : layer.programs) {
    const LaunchCost cost = costs.LaunchAtCapacity(program);
    launches_ms += cost.total_ms();
    sum.npu_energy_j += cost.energy_j;
    dispatch_ms += costs.SpotCheckMs(program.experts.front().expert);
    for (const PlannedExpert& planned : program.experts) {
      ++(planned.expert < plan.num_experts ? residents : shared);
    }
  }
  const double resident_share = static_cast<double>(residents) / plan.num_experts;
  const double experts_ms = (1 - resident_share) * RoutedOnCpuMs(costs, tokens) +
                            (shared == 0 ? SharedOnCpuMs(costs, tokens) : 0);
  const auto rows = static_cast<int64_t>(resident_share * static_cast<double>(tokens) *
                                         costs.config().moe.experts_per_token) +
                    shared * tokens;
  dispatch_ms += costs.DispatchMs(rows);
  sum.elapsed_ms += dispatch_ms + OverlapOf(costs.profile()).ElapsedMs(launches_ms, experts_ms);
  sum.cpu_busy_ms += dispatch_ms + experts_ms;
}

// Attention and head, where they are programs and the chunk's history is planned.
void AddDense(const Plan& plan, const CostModel& costs, const ChunkSpan& chunk, PartialCosts& npu,
              PartialCosts& cpu) {
  const int64_t tokens = chunk.end - chunk.begin;
  const auto launch = [&npu](const LaunchCost& cost) {
    npu.elapsed_ms += cost.total_ms();
    npu.npu_energy_j += cost.energy_j;
  };
  const auto work = [](double ms, PartialCosts& side) {
    side.elapsed_ms += ms;
    side.cpu_busy_ms += ms;
  };
  for (const int layer : plan.attention.layers) {
    const int64_t cached = HistoryTokens(costs.config(), layer, chunk.begin);
    const auto function = plan.attention.FunctionFor(cached);
    if (!function) continue;
    const int64_t history = plan.attention.history_tokens[*function];
    launch(AttentionLaunchCost(costs, plan.chunk_tokens, history));
    work(AttentionFeedMs(costs, tokens, cached, history) + AttentionTakeMs(costs, tokens) +
             RouterMs(costs, tokens),
         npu);
    work(costs.AttentionAndRouterMs(tokens, chunk.begin), cpu);
  }
  if (plan.head.rows.empty()) return;
  launch(HeadLaunchCost(costs, plan.head, plan.head.rows.front()));
  work(costs.HeadMs(), cpu);
}

double CostOf(Objective objective, const CostModel& costs, const PartialCosts& partial) {
  switch (objective) {
    case Objective::kLatency:
      return partial.elapsed_ms;
    case Objective::kEnergy:
      return costs.EnergyJ(partial.elapsed_ms, partial.cpu_busy_ms, partial.npu_energy_j);
    case Objective::kCpuTime:
      return partial.cpu_busy_ms;
  }
  return partial.elapsed_ms;
}

// `whole`: tokens of the prompt's chunks before.
ChunkPlace PlaceOfPartial(const Plan& plan, const CostModel& costs, const ChunkSpan& chunk,
                          int64_t whole) {
  const int64_t partial = chunk.end - chunk.begin;
  const double share_without =
      plan.predicted.npu_share * static_cast<double>(whole) / static_cast<double>(whole + partial);
  if (plan.min_npu_share > 0 && share_without < plan.min_npu_share) return ChunkPlace::kNpu;
  PartialCosts npu;
  PartialCosts cpu;
  for (const LayerPlan& layer : plan.layers) {
    if (layer.programs.empty()) continue;
    AddPartialOnNpu(plan, layer, costs, partial, npu);
    cpu.elapsed_ms += RoutedOnCpuMs(costs, partial) + SharedOnCpuMs(costs, partial);
  }
  cpu.cpu_busy_ms = cpu.elapsed_ms;
  AddDense(plan, costs, chunk, npu, cpu);
  return CostOf(plan.objective, costs, npu) < CostOf(plan.objective, costs, cpu) ? ChunkPlace::kNpu
                                                                                 : ChunkPlace::kCpu;
}

}  // namespace

std::vector<ChunkSpan> CutIntoChunks(const Plan& plan, const CostModel& costs, int64_t tokens,
                                     int64_t history) {
  std::vector<ChunkSpan> chunks;
  const bool has_programs = plan.ProgramCount() > 0;
  const ChunkPlace place = has_programs ? ChunkPlace::kNpu : ChunkPlace::kCpu;
  int64_t done = 0;
  for (; done + plan.chunk_tokens <= tokens; done += plan.chunk_tokens) {
    chunks.push_back({history + done, history + done + plan.chunk_tokens, place});
  }
  if (done == tokens) return chunks;
  chunks.push_back({history + done, history + tokens, place});
  if (has_programs) chunks.back().place = PlaceOfPartial(plan, costs, chunks.back(), done);
  return chunks;
}

DispatchCounts& DispatchCounts::operator+=(const DispatchCounts& other) {
  launches += other.launches;
  capacity_rows += other.capacity_rows;
  filled_rows += other.filled_rows;
  spilled_rows += other.spilled_rows;
  dropped_rows += other.dropped_rows;
  cpu_rows += other.cpu_rows;
  return *this;
}

Result<std::vector<std::vector<int32_t>>> CountLoads(const Plan& plan, const RoutingTrace& trace,
                                                     size_t sequence,
                                                     std::span<const ChunkSpan> chunks) {
  NPUMOE_RETURN_IF_ERROR(ValidateTrace(trace));
  NPUMOE_RETURN_IF_ERROR(CheckTraceFits(plan, trace, sequence));
  const auto [begin, end] = trace.Sequence(sequence);
  NPUMOE_RETURN_IF_ERROR(CheckChunksFit(chunks, end - begin));
  return CountTokens(plan, trace, begin, chunks);
}

Result<SimulationResult> Simulate(const Plan& plan, const CostModel& costs,
                                  const RoutingTrace& trace, size_t sequence) {
  NPUMOE_RETURN_IF_ERROR(ValidateTrace(trace));
  NPUMOE_RETURN_IF_ERROR(CheckTraceFits(plan, trace, sequence));
  const auto [begin, end] = trace.Sequence(sequence);
  const std::vector<ChunkSpan> chunks = CutIntoChunks(plan, costs, end - begin, 0);
  const std::vector<std::vector<int32_t>> loads = CountTokens(plan, trace, begin, chunks);
  const auto experts = static_cast<size_t>(plan.expert_count());
  const LoadsOf loads_of = [&](size_t chunk, size_t layer) {
    return std::span(loads[chunk]).subspan(layer * experts, experts);
  };
  return Replay(plan, costs).Run(chunks, loads_of, TimelineMode::kRecord);
}

}  // namespace npumoe
