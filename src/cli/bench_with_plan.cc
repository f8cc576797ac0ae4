#include "cli/bench_with_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "cli/bench_prompt.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "runtime/repeated_times.h"
#include "runtime/trace_recorder.h"

namespace npumoe::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Spans of measured and of modelled timelines under the names of both: the run time tells some
// things apart that the model has as one.
struct StageNames {
  const char* stage;
  std::vector<std::string_view> spans;
};
const std::vector<StageNames>& Stages() {
  static const std::vector<StageNames> stages = {
      {"attention and router", {"attention", "router"}},
      {"gather and CPU experts", {"gather", "cpu experts"}},
      {"combine and checks", {"combine", "spot checks", "output check"}},
      {"dense layers", {"dense ffn"}},
      {"embedding and head", {"embedding", "finite check", "head"}},
  };
  return stages;
}
constexpr const char* kLaunches = "launches";

std::string StageOf(const TimelineSpan& span) {
  if (span.engine == npumoe::Engine::kNpu) return kLaunches;
  for (const StageNames& stage : Stages()) {
    if (std::ranges::find(stage.spans, span.what) != stage.spans.end()) return stage.stage;
  }
  return "other";
}

using StageMs = std::map<std::string, double>;

StageMs SumStages(const Timeline& timeline) {
  StageMs sums;
  for (const TimelineSpan& span : timeline.spans) {
    sums[StageOf(span)] += span.end_ms - span.start_ms;
  }
  return sums;
}

struct Prefill {
  double measured_ms = 0;
  Timeline timeline;
  DispatchCounts counts;
};

struct PlanBench {
  std::vector<Prefill> prefills;
  std::vector<SimulationResult> predicted;  // of the same routing
  double open_ms = 0;                       // model, packages, device
};

// Wall time where the device is real; the merged timeline where it models its own.
double PrefillMs(const Engine& engine, const PrefillResult& prefill) {
  const bool modelled = engine.uses_npu() && engine.npu->report().modelled;
  return modelled ? prefill.time_ms : prefill.wall_ms;
}

Result<PlanBench> Measure(const PlanBenchOptions& options, Engine& engine) {
  TraceRecorder recorder(engine.model->config);
  NPUMOE_ASSIGN_OR_RETURN(const auto session, engine.NewSession(options.prompt_tokens, &recorder));
  PlanBench bench;
  Progress progress("benchmark", "repetitions");
  for (int r = -1; r < options.repetitions; ++r) {  // the first is a warm-up
    NPUMOE_RETURN_IF_ERROR(session->Rewind(0));
    const auto ids = RandomPrompt(options.prompt_tokens, engine.model->config.vocab_size,
                                  static_cast<uint64_t>(r + 2));
    NPUMOE_ASSIGN_OR_RETURN(const PrefillResult result,
                            session->Prefill(ids, LogitsWanted::kLastRow));
    if (r >= 0) {
      bench.prefills.push_back({PrefillMs(engine, result), result.timeline, result.counts});
    }
    progress.Update(r + 2, options.repetitions + 1);
  }
  const RoutingTrace trace = recorder.Trace();
  Plan executed = *engine.plan;
  executed.overflow = engine.npu->overflow();
  for (int r = 0; r < options.repetitions; ++r) {
    NPUMOE_ASSIGN_OR_RETURN(
        SimulationResult predicted,
        Simulate(executed, engine.npu->costs(), trace, static_cast<size_t>(r + 1)));
    bench.predicted.push_back(std::move(predicted));
  }
  return bench;
}

struct Compared {
  RepeatedTimes measured, predicted;
  double Error() const { return predicted.Median() / measured.Median() - 1; }
};

Compared WholePrefill(const PlanBench& bench) {
  Compared whole;
  for (const Prefill& prefill : bench.prefills) whole.measured.Add(prefill.measured_ms);
  for (const SimulationResult& predicted : bench.predicted) whole.predicted.Add(predicted.time_ms);
  return whole;
}

// By stage; those that nothing was spent in are left out.
std::vector<std::pair<std::string, Compared>> ByStage(const PlanBench& bench) {
  std::vector<std::string> names;
  for (const StageNames& stage : Stages()) names.emplace_back(stage.stage);
  names.emplace_back(kLaunches);
  std::vector<std::pair<std::string, Compared>> stages;
  for (const std::string& name : names) {
    Compared stage;
    const auto of = [&](StageMs sums) { return sums[name]; };
    for (const Prefill& prefill : bench.prefills) {
      stage.measured.Add(of(SumStages(prefill.timeline)));
    }
    for (const SimulationResult& predicted : bench.predicted) {
      stage.predicted.Add(of(SumStages(predicted.timeline)));
    }
    const bool empty = stage.measured.Median() == 0 && stage.predicted.Median() == 0;
    if (!empty) stages.emplace_back(name, stage);
  }
  return stages;
}

std::string ErrorText(const Compared& compared) {
  return compared.measured.Median() == 0 ? "-" : fmt::format("{:+.1f}%", 100 * compared.Error());
}

void PrintText(const PlanBenchOptions& options, const Engine& engine, const PlanBench& bench) {
  const DispatchCounts& counts = bench.prefills.front().counts;
  fmt::print("{} tokens, strategy {}, chunk {}, {} programs on {}, profile {}; {} repetitions\n\n",
             options.prompt_tokens, Name(engine.plan->strategy), engine.plan->chunk_tokens,
             engine.plan->ProgramCount(), DeviceOf(options.engine), engine.profile->name,
             bench.prefills.size());
  Table table({"", std::string("time (") + engine.PrefillTimeSource() + ")", "spread",
               "predicted (modelled)", "error"});
  const auto row = [&](const std::string& name, const Compared& compared) {
    table.AddRow({name, FormatMs(compared.measured.Median()),
                  FormatPercent(compared.measured.Spread()), FormatMs(compared.predicted.Median()),
                  ErrorText(compared)});
  };
  row("prefill", WholePrefill(bench));
  for (const auto& [name, stage] : ByStage(bench)) row("  " + name, stage);
  fmt::print("{}\nthe last one, and the same as predicted:\n{}{}", table.ToString(),
             bench.prefills.back().timeline.Draw(78), bench.predicted.back().timeline.Draw(78));
  fmt::print(
      "\n{} launches, {} of {} expert rows on the NPU, {} spilled, {} dropped; "
      "opened in {}\n",
      FormatCount(counts.launches), FormatCount(counts.filled_rows),
      FormatCount(counts.assignments()), FormatCount(counts.spilled_rows),
      FormatCount(counts.dropped_rows), FormatMs(bench.open_ms));
}

OrderedJson ToJson(const Timeline& timeline) {
  OrderedJson spans = OrderedJson::array();
  for (const TimelineSpan& span : timeline.spans) {
    spans.push_back({{"engine", span.engine == npumoe::Engine::kCpu ? "cpu" : "npu"},
                     {"chunk", span.chunk},
                     {"layer", span.layer},
                     {"what", span.what},
                     {"start_ms", span.start_ms},
                     {"end_ms", span.end_ms}});
  }
  return spans;
}

OrderedJson ToJson(const Compared& compared) {
  return {{"time_ms", compared.measured.Median()},
          {"spread", compared.measured.Spread()},
          {"predicted_ms", compared.predicted.Median()}};
}

void PrintJson(const PlanBenchOptions& options, const Engine& engine, const PlanBench& bench) {
  const DispatchCounts& counts = bench.prefills.front().counts;
  OrderedJson json = {{"prompt_tokens", options.prompt_tokens},
                      {"strategy", Name(engine.plan->strategy)},
                      {"chunk_tokens", engine.plan->chunk_tokens},
                      {"programs", engine.plan->ProgramCount()},
                      {"device", DeviceOf(options.engine)},
                      {"profile", engine.profile->name},
                      {"time_source", engine.PrefillTimeSource()},
                      {"prefill", ToJson(WholePrefill(bench))},
                      {"stages", OrderedJson::object()}};
  for (const auto& [name, stage] : ByStage(bench)) json["stages"][name] = ToJson(stage);
  OrderedJson times = OrderedJson::array();
  for (const Prefill& prefill : bench.prefills) times.push_back(prefill.measured_ms);
  json["times_ms"] = std::move(times);
  json["launches"] = counts.launches;
  json["filled_rows"] = counts.filled_rows;
  json["assignments"] = counts.assignments();
  json["spilled_rows"] = counts.spilled_rows;
  json["dropped_rows"] = counts.dropped_rows;
  json["open_ms"] = bench.open_ms;
  json["last_timeline"] = {{"measured", ToJson(bench.prefills.back().timeline)},
                           {"predicted", ToJson(bench.predicted.back().timeline)}};
  fmt::print("{}\n", json.dump(2));
}

}  // namespace

Status RunPlanBench(const PlanBenchOptions& options) {
  Stopwatch watch;
  NPUMOE_ASSIGN_OR_RETURN(const auto engine, OpenEngine(options.engine));
  if (!engine->uses_npu()) return UsageError("bench --plan needs a device other than cpu");
  const double open_ms = watch.ElapsedMs();
  NPUMOE_ASSIGN_OR_RETURN(PlanBench bench, Measure(options, *engine));
  bench.open_ms = open_ms;
  if (options.json) {
    PrintJson(options, *engine, bench);
  } else {
    PrintText(options, *engine, bench);
  }
  return CheckRequiredNpu(*engine, options.engine);
}

}  // namespace npumoe::cli
