#include "plan/predict.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "plan/dense_costs.h"
#include "plan/figure_spreads.h"
#include "plan/replay.h"

namespace npumoe {
namespace {

// Chunks that are counted, and chunks that are replayed: enough for stable means, few enough for
// a large calibration to cost nothing (chosen).
constexpr int64_t kMaxCountedChunks = 256;
constexpr int64_t kMaxReplayedChunks = 64;

std::span<const int32_t> LoadsAt(const ChunkLoads& loads, int64_t chunk, size_t layer) {
  const auto experts = static_cast<size_t>(loads.num_experts);
  return std::span(loads.layers[layer]).subspan(static_cast<size_t>(chunk) * experts, experts);
}

// Loads of a partial chunk: those of a chunk of whole blocks, scaled to its tokens.
std::vector<std::vector<int32_t>> ScaleLoads(const ChunkLoads& loads, int64_t chunk,
                                             int64_t tokens) {
  const double scale = static_cast<double>(tokens) / loads.chunk_tokens;
  std::vector<std::vector<int32_t>> scaled(loads.layers.size());
  for (size_t l = 0; l < loads.layers.size(); ++l) {
    for (const int32_t load : LoadsAt(loads, chunk, l)) {
      scaled[l].push_back(static_cast<int32_t>(std::lround(load * scale)));
    }
  }
  return scaled;
}

// Several prompts made of calibrated chunks that follow each other.
class SamplePrompts {
 public:
  SamplePrompts(const Plan& plan, const CostModel& costs, const PromptLoads& loads)
      : loads_(loads), spans_(CutIntoChunks(plan, costs, loads.prompt_tokens, 0)) {
    whole_ = static_cast<int64_t>(spans_.size()) - (loads.partial_tokens > 0);
    const int64_t available = whole_ > 0 ? loads.whole->chunks : loads.partial->chunks;
    const int64_t replayed = std::min(available, kMaxReplayedChunks);
    count_ = std::max<int64_t>(1, replayed / std::max<int64_t>(1, whole_));
    for (int64_t i = 0; loads.partial_tokens > 0 && i < count_; ++i) {
      partial_.push_back(
          ScaleLoads(*loads.partial, i * loads.partial->chunks / count_, loads.partial_tokens));
    }
  }

  // Mean of the prompts, counts left out.
  SimulationResult Replayed(const Plan& plan, const CostModel& costs) const {
    const Replay replay(plan, costs);
    SimulationResult mean;
    const double share = 1.0 / static_cast<double>(count_);
    for (int64_t i = 0; i < count_; ++i) {
      const LoadsOf loads_of = [&](size_t chunk, size_t layer) { return Loads(i, chunk, layer); };
      const SimulationResult one = replay.Run(spans_, loads_of, TimelineMode::kOmit);
      mean.time_ms += share * one.time_ms;
      mean.energy_j += share * one.energy_j;
      mean.cpu_busy_ms += share * one.cpu_busy_ms;
      mean.npu_busy_ms += share * one.npu_busy_ms;
      mean.dense_launches = one.dense_launches;  // the same for each: chunks decide them
    }
    return mean;
  }

  // Summed over the sample prompts.
  DispatchCounts PartialCounts(const Plan& plan) const {
    DispatchCounts sum;
    for (const auto& layers : partial_) {
      for (size_t l = 0; l < plan.layers.size(); ++l) {
        const bool on_npu = spans_.back().place == ChunkPlace::kNpu;
        sum += CountDispatch(on_npu ? plan.layers[l] : LayerPlan{}, layers[l], plan.overflow);
      }
    }
    return sum;
  }
  int64_t count() const { return count_; }
  int64_t whole_chunks() const { return whole_; }

 private:
  std::span<const int32_t> Loads(int64_t prompt, size_t chunk, size_t layer) const {
    if (static_cast<int64_t>(chunk) >= whole_) return partial_[static_cast<size_t>(prompt)][layer];
    const int64_t first = prompt * loads_.whole->chunks / count_;
    return LoadsAt(*loads_.whole, (first + static_cast<int64_t>(chunk)) % loads_.whole->chunks,
                   layer);
  }

  PromptLoads loads_;
  std::vector<ChunkSpan> spans_;
  int64_t whole_ = 0;
  int64_t count_ = 0;
  std::vector<std::vector<std::vector<int32_t>>> partial_;  // [prompts][layers][experts]
};

int64_t CountedChunks(const ChunkLoads& loads) { return std::min(loads.chunks, kMaxCountedChunks); }

double Share(double part, double whole) { return whole > 0 ? part / whole : 0; }

// Counts are sums over different numbers of chunks: weigh them before dividing.
void SetShares(Prediction& prediction, const DispatchCounts& whole, double whole_weight,
               const DispatchCounts& partial, double partial_weight) {
  const auto total = [&](int64_t DispatchCounts::*member) {
    return whole_weight * static_cast<double>(whole.*member) +
           partial_weight * static_cast<double>(partial.*member);
  };
  const double filled = total(&DispatchCounts::filled_rows);
  const double overflow =
      total(&DispatchCounts::spilled_rows) + total(&DispatchCounts::dropped_rows);
  const double assignments = filled + overflow + total(&DispatchCounts::cpu_rows);
  const double capacity = total(&DispatchCounts::capacity_rows);
  prediction.launches = std::llround(total(&DispatchCounts::launches));
  prediction.padding = Share(capacity - filled, capacity);
  prediction.spill = Share(overflow, assignments);
  prediction.npu_share = Share(filled, assignments);
}

void SetBytes(Plan& plan, const CostModel& costs) {
  constexpr int64_t kChunksInFlight = 2;
  constexpr int64_t kInAndOutFp16Bytes = 4;
  int64_t bytes = plan.head.rows.empty() ? 0 : HeadWeightBytes(costs, plan.head.slice_entries);
  if (!plan.attention.layers.empty()) {
    bytes += static_cast<int64_t>(plan.attention.layers.size()) * AttentionWeightBytes(costs);
  }
  int64_t most_rows = 0;
  for (const LayerPlan& layer : plan.layers) {
    int64_t rows = 0;
    for (const PlannedProgram& program : layer.programs) {
      for (const PlannedExpert& expert : program.experts) {
        bytes += costs.ExpertProgramBytes(expert.expert);
      }
      rows += program.CapacityRows();
    }
    most_rows = std::max(most_rows, rows);
  }
  plan.predicted.npu_weight_bytes = bytes;
  int64_t launch_bytes = kInAndOutFp16Bytes * most_rows * costs.config().hidden_size;
  if (!plan.attention.layers.empty()) {
    launch_bytes = std::max(launch_bytes, AttentionIoBytes(costs.config(), plan.chunk_tokens,
                                                           plan.attention.history_tokens.back()));
  }
  if (!plan.head.rows.empty()) {
    launch_bytes = std::max(launch_bytes, HeadIoBytes(costs.config(), plan.head.rows.back()));
  }
  plan.predicted.io_bytes = kChunksInFlight * launch_bytes;
}

}  // namespace

DispatchCounts CountCalibrated(const Plan& plan, const ChunkLoads& loads) {
  DispatchCounts sum;
  const int64_t counted = CountedChunks(loads);
  for (size_t l = 0; l < plan.layers.size(); ++l) {
    const LayerDispatch dispatch(plan.layers[l], loads.num_experts);
    std::vector<int64_t> filled(dispatch.programs());
    for (int64_t i = 0; i < counted; ++i) {
      const auto chunk_loads = LoadsAt(loads, i * loads.chunks / counted, l);
      sum += dispatch.Count(chunk_loads, ChunkPlace::kNpu, plan.overflow, filled,
                            [](size_t, int64_t) {});
    }
  }
  return sum;
}

double NpuShare(const DispatchCounts& counts) {
  return Share(static_cast<double>(counts.filled_rows), static_cast<double>(counts.assignments()));
}

void PredictValues(Plan& plan, const CostModel& costs, const PromptLoads& loads) {
  NPUMOE_CHECK(loads.prompt_tokens > 0 && loads.whole->chunks > 0);
  const DispatchCounts whole = CountCalibrated(plan, *loads.whole);
  plan.predicted = {};
  plan.predicted.prompt_tokens = loads.prompt_tokens;
  plan.predicted.npu_share = NpuShare(whole);  // CutIntoChunks asks for it
  const SamplePrompts prompts(plan, costs, loads);
  const SimulationResult mean = prompts.Replayed(plan, costs);
  plan.predicted.time_ms.value = mean.time_ms;
  plan.predicted.energy_j.value = mean.energy_j;
  plan.predicted.cpu_busy_ms.value = mean.cpu_busy_ms;
  plan.predicted.npu_busy_ms.value = mean.npu_busy_ms;
  const double whole_weight = static_cast<double>(prompts.whole_chunks()) /
                              static_cast<double>(CountedChunks(*loads.whole));
  SetShares(plan.predicted, whole, whole_weight, prompts.PartialCounts(plan),
            1.0 / static_cast<double>(prompts.count()));
  plan.predicted.launches += mean.dense_launches;
  SetBytes(plan, costs);
}

void PredictSpreads(Plan& plan, const CostModel& costs, const PromptLoads& loads) {
  const SamplePrompts prompts(plan, costs, loads);
  Prediction& predicted = plan.predicted;
  const auto vary = [&](const ChipProfile& profile) {
    return prompts.Replayed(
        plan, CostModel(costs.config(), profile, costs.weight_bytes_cpu(), costs.formats()));
  };
  double time = 0, energy = 0, cpu = 0, npu = 0;
  for (const FigureVariation& variation : VaryFigures(costs.profile())) {
    const SimulationResult up = vary(variation.up);
    const SimulationResult down = vary(variation.down);
    const auto square = [](double a, double b) { return (a - b) * (a - b) / 4; };
    time += square(up.time_ms, down.time_ms);
    energy += square(up.energy_j, down.energy_j);
    cpu += square(up.cpu_busy_ms, down.cpu_busy_ms);
    npu += square(up.npu_busy_ms, down.npu_busy_ms);
  }
  predicted.time_ms.spread = std::sqrt(time);
  predicted.energy_j.spread = std::sqrt(energy);
  predicted.cpu_busy_ms.spread = std::sqrt(cpu);
  predicted.npu_busy_ms.spread = std::sqrt(npu);
}

}  // namespace npumoe
