#include "plan/replay.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <string>

#include "base/check.h"
#include "plan/attention_shape.h"
#include "plan/dense_costs.h"

namespace npumoe {

Replay::Replay(const Plan& plan, const CostModel& costs) : plan_(&plan), costs_(&costs) {
  const ModelConfig& config = costs.config();
  const LayerPlan dense;
  size_t next = 0;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const bool moe = next < plan.layers.size() && plan.layers[next].layer == layer;
    const LayerPlan& planned = moe ? plan.layers[next] : dense;
    LayerModel model{moe ? static_cast<int>(next) : -1,
                     LayerDispatch(planned, config.moe.expert_count()),
                     {},
                     {}};
    for (const PlannedProgram& program : planned.programs) {
      model.at_capacity.emplace_back();
      for (const std::vector<int64_t>& bucket : program.Buckets()) {
        model.at_capacity.back().push_back(costs.Launch(program, bucket, bucket));
      }
    }
    model.attends_on_npu = plan.attention.Has(layer);
    layers_.push_back(std::move(model));
    if (moe) ++next;
  }
  for (const int64_t history : plan.attention.history_tokens) {
    attention_.push_back(AttentionLaunchCost(costs, plan.chunk_tokens, history));
  }
  NPUMOE_CHECK(next == plan.layers.size());
  for (int64_t rows = 0; rows <= plan.chunk_tokens; ++rows) {
    cpu_expert_ms_.push_back(costs.CpuExpertMs(rows));
  }
}

double Replay::CpuExpertMs(size_t expert, int64_t rows) const {
  const auto index = static_cast<size_t>(rows);
  const bool tabulated =
      index < cpu_expert_ms_.size() && expert < static_cast<size_t>(plan_->num_experts);
  return tabulated ? cpu_expert_ms_[index] : costs_->CpuExpertMs(static_cast<int>(expert), rows);
}

// The state of one run.
class ReplayRun {
 public:
  ReplayRun(const Replay& replay, std::span<const ChunkSpan> chunks, const LoadsOf& loads_of,
            TimelineMode mode)
      : replay_(replay),
        chunks_(chunks),
        loads_of_(loads_of),
        mode_(mode),
        overlap_(OverlapOf(replay.costs_->profile())),
        in_flight_(chunks.size()) {}

  SimulationResult Run() {
    constexpr int kChunksInFlight = 2;
    Schedule schedule(static_cast<int>(chunks_.size()), static_cast<int>(replay_.layers_.size()),
                      kChunksInFlight);
    const auto launches_done = [&](int chunk) {
      return in_flight_[static_cast<size_t>(chunk)].launches == 0;
    };
    while (const std::optional<Step> step = schedule.Next(launches_done)) {
      Do(*step);
      schedule.Finished(*step);
    }
    if (!chunks_.empty()) Head();
    result_.time_ms = cpu_ms_;
    result_.energy_j = replay_.costs_->EnergyJ(result_.time_ms, result_.cpu_busy_ms, npu_energy_j_);
    return std::move(result_);
  }

 private:
  struct InFlight {    // of one chunk in its present layer
    int launches = 0;  // that are not done
    double cpu_experts_ms = 0;
    double spot_checks_ms = 0;
    int64_t filled_rows = 0;
    bool attends_on_npu = false;
  };

  struct QueuedLaunch {
    Step step;
    std::string what;
    double rest_ms = 0;  // on an NPU that nothing slows down
    double start_ms = 0;
  };

  Step LastStep() const {
    return {static_cast<int>(chunks_.size()) - 1, static_cast<int>(replay_.layers_.size()) - 1,
            Stage::kCombine};
  }

  void Do(const Step& step) {
    InFlight& chunk = in_flight_[static_cast<size_t>(step.chunk)];
    switch (step.stage) {
      case Stage::kAttention:
        Attend(step, chunk);
        break;
      case Stage::kRouting:
        Route(step, chunk);
        break;
      case Stage::kCpuExperts:
        Spend(chunk.cpu_experts_ms, "cpu experts", step);
        break;
      case Stage::kCombine:
        Await(chunk);
        Spend(chunk.spot_checks_ms, "spot checks", step);
        Spend(replay_.costs_->CombineMs(chunk.filled_rows), "combine", step);
        break;
    }
  }

  // The history length of the chunk's attention program; none: the CPU attends.
  std::optional<size_t> AttentionFunction(const Step& step) const {
    const ChunkSpan& span = chunks_[static_cast<size_t>(step.chunk)];
    const bool planned = replay_.layers_[static_cast<size_t>(step.layer)].attends_on_npu;
    if (!planned || span.place == ChunkPlace::kCpu) return std::nullopt;
    return replay_.plan_->attention.FunctionFor(
        HistoryTokens(replay_.costs_->config(), step.layer, span.begin));
  }

  void Attend(const Step& step, InFlight& chunk) {
    const ChunkSpan& span = chunks_[static_cast<size_t>(step.chunk)];
    const int64_t tokens = span.end - span.begin;
    const CostModel& costs = *replay_.costs_;
    chunk = {};
    const std::optional<size_t> function = AttentionFunction(step);
    chunk.attends_on_npu = function.has_value();
    if (!function) {
      Spend(costs.AttentionAndRouterMs(tokens, span.begin), "attention", step);
      return;
    }
    const int64_t cached = HistoryTokens(costs.config(), step.layer, span.begin);
    const int64_t history = replay_.plan_->attention.history_tokens[*function];
    Spend(AttentionFeedMs(costs, tokens, cached, history), "attention input", step);
    Launch(step, chunk, "attention launch", replay_.attention_[*function]);
    ++result_.dense_launches;
  }

  // Router, gather, submit; a dense layer ends with its FFN.
  void Route(const Step& step, InFlight& chunk) {
    const ChunkSpan& span = chunks_[static_cast<size_t>(step.chunk)];
    const int64_t tokens = span.end - span.begin;
    const Replay::LayerModel& layer = replay_.layers_[static_cast<size_t>(step.layer)];
    if (chunk.attends_on_npu) {
      Await(chunk);
      Spend(AttentionTakeMs(*replay_.costs_, tokens), "attention output", step);
      Spend(RouterMs(*replay_.costs_, tokens), "router", step);
    }
    if (layer.moe_layer < 0) {
      Spend(replay_.costs_->DenseFfnMs(tokens), "dense ffn", step);
      return;
    }
    filled_.resize(layer.dispatch.programs());
    const std::span<const int32_t> loads =
        loads_of_(static_cast<size_t>(step.chunk), static_cast<size_t>(layer.moe_layer));
    const DispatchCounts counts = layer.dispatch.Count(
        loads, span.place, replay_.plan_->overflow, filled_, [&](size_t expert, int64_t rows) {
          chunk.cpu_experts_ms += replay_.CpuExpertMs(expert, rows);
        });
    chunk.filled_rows = counts.filled_rows;
    Spend(replay_.costs_->GatherMs(counts.filled_rows), "gather", step);
    for (size_t p = 0; p < filled_.size(); ++p) {
      if (filled_[p] == 0) continue;
      Launch(step, chunk, "launch " + std::to_string(p), LaunchCostOf(layer, p, loads));
      chunk.spot_checks_ms +=
          replay_.costs_->SpotCheckMs(PlannedOf(layer, p).experts.front().expert);
    }
    result_.counts += counts;
  }

  const PlannedProgram& PlannedOf(const Replay::LayerModel& layer, size_t program) const {
    return replay_.plan_->layers[static_cast<size_t>(layer.moe_layer)].programs[program];
  }

  LaunchCost LaunchCostOf(const Replay::LayerModel& layer, size_t program,
                          std::span<const int32_t> loads) const {
    const size_t bucket = layer.dispatch.BucketFor(program, loads);
    if (!replay_.costs_->profile().npu.cost_follows_rows) {
      return layer.at_capacity[program][bucket];
    }
    const PlannedProgram& planned = PlannedOf(layer, program);
    std::vector<int64_t> rows;
    for (const PlannedExpert& expert : planned.experts) {
      rows.push_back(std::min<int64_t>(loads[static_cast<size_t>(expert.expert)], expert.capacity));
    }
    return replay_.costs_->Launch(planned, planned.Buckets()[bucket], rows);
  }

  // Logits of the last row.
  void Head() {
    const HeadPlan& head = replay_.plan_->head;
    if (head.rows.empty() || chunks_.back().place == ChunkPlace::kCpu) {
      Spend(replay_.costs_->HeadMs(), "head", LastStep());
      return;
    }
    InFlight& chunk = in_flight_.back();
    Launch(LastStep(), chunk, "head launch",
           HeadLaunchCost(*replay_.costs_, head, head.rows.front()));
    ++result_.dense_launches;
    Await(chunk);
  }

  void Launch(const Step& step, InFlight& chunk, std::string what, const LaunchCost& cost) {
    launches_.push_back({step, std::move(what), cost.total_ms(), cpu_ms_});
    ++chunk.launches;
    npu_energy_j_ += cost.energy_j;
  }

  // The CPU waits: nothing slows the NPU down.
  void Await(const InFlight& chunk) {
    while (chunk.launches > 0) FinishLaunch(launches_.front().rest_ms);
  }

  // The first launch ends `elapsed_ms` from now; the next one begins.
  void FinishLaunch(double elapsed_ms) {
    const QueuedLaunch done = launches_.front();
    launches_.pop_front();
    cpu_ms_ += elapsed_ms;
    result_.npu_busy_ms += cpu_ms_ - done.start_ms;
    --in_flight_[static_cast<size_t>(done.step.chunk)].launches;
    if (!launches_.empty()) launches_.front().start_ms = cpu_ms_;
    if (mode_ == TimelineMode::kOmit) return;
    result_.timeline.spans.push_back({Engine::kNpu, TimeSource::kModelled, done.step.chunk,
                                      done.step.layer, done.what, done.start_ms, cpu_ms_});
  }

  // CPU work that takes `ms` alone. While launches run, both advance at their slowed pace.
  void Spend(double ms, const char* what, const Step& step) {
    if (ms <= 0) return;
    const double start_ms = cpu_ms_;
    double rest_ms = ms;
    while (!launches_.empty() &&
           launches_.front().rest_ms * overlap_.npu <= rest_ms * overlap_.cpu) {
      const double elapsed_ms = launches_.front().rest_ms * overlap_.npu;
      rest_ms -= elapsed_ms / overlap_.cpu;
      FinishLaunch(elapsed_ms);
    }
    const double elapsed_ms = launches_.empty() ? rest_ms : rest_ms * overlap_.cpu;
    if (!launches_.empty()) launches_.front().rest_ms -= elapsed_ms / overlap_.npu;
    cpu_ms_ += elapsed_ms;
    result_.cpu_busy_ms += cpu_ms_ - start_ms;
    if (mode_ == TimelineMode::kOmit) return;
    result_.timeline.spans.push_back(
        {Engine::kCpu, TimeSource::kModelled, step.chunk, step.layer, what, start_ms, cpu_ms_});
  }

  const Replay& replay_;
  std::span<const ChunkSpan> chunks_;
  const LoadsOf& loads_of_;
  TimelineMode mode_;
  Overlap overlap_;
  std::vector<InFlight> in_flight_;    // [chunks]
  std::vector<int64_t> filled_;        // [programs] of the layer at hand
  std::deque<QueuedLaunch> launches_;  // in order of submission: the first one runs
  double cpu_ms_ = 0;
  double npu_energy_j_ = 0;
  SimulationResult result_;
};

SimulationResult Replay::Run(std::span<const ChunkSpan> chunks, const LoadsOf& loads_of,
                             TimelineMode mode) const {
  return ReplayRun(*this, chunks, loads_of, mode).Run();
}

}  // namespace npumoe
