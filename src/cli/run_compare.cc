#include "cli/run_compare.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/table.h"
#include "eval/kl.h"
#include "eval/routing_agreement.h"
#include "runtime/trace_recorder.h"

namespace npumoe::cli {
namespace {

struct Arm {
  Generation generation;
  std::vector<float> prompt_logits;  // [tokens, vocab]
  RoutingTrace routing;              // of the prompt
  SimulationResult modelled;         // profile's CPU and NPU
};

// Prefill twice: once for the logits of all rows, then as a user would.
Result<Arm> RunArm(Engine& engine, Engine::On on, std::span<const int32_t> prompt,
                   const GenerateOptions& generate, const CompareOptions& options) {
  Arm arm;
  TraceRecorder recorder(engine.model->config);
  NPUMOE_ASSIGN_OR_RETURN(const auto session,
                          engine.NewSession(options.context_tokens, &recorder, on));
  NPUMOE_ASSIGN_OR_RETURN(PrefillResult all, session->Prefill(prompt, LogitsWanted::kAllRows));
  arm.prompt_logits = std::move(all.logits);
  arm.routing = recorder.Trace();
  std::vector<int32_t> context;
  NPUMOE_ASSIGN_OR_RETURN(arm.generation, Generate(*session, context, prompt, generate));
  return arm;
}

Plan WithoutNpu(Plan plan) {
  plan.RemovePrograms();
  plan.min_npu_share = 0;
  return plan;
}

double MeanKl(const Arm& cpu, const Arm& planned, int vocab) {
  const auto width = static_cast<size_t>(vocab);
  const size_t rows = cpu.prompt_logits.size() / width;
  double sum = 0;
  for (size_t r = 0; r < rows; ++r) {
    sum += CompareRow(std::span(cpu.prompt_logits).subspan(r * width, width),
                      std::span(planned.prompt_logits).subspan(r * width, width))
               .kl;
  }
  return sum / static_cast<double>(rows);
}

struct Comparison {
  Arm cpu;
  Arm planned;
  double mean_kl = 0;
  RoutingAgreement routing;
  bool same_answer = false;
};

Result<Comparison> RunBoth(Engine& engine, std::span<const int32_t> prompt,
                           GenerateOptions generate, const CompareOptions& options) {
  Comparison comparison;
  NPUMOE_ASSIGN_OR_RETURN(comparison.planned,
                          RunArm(engine, Engine::On::kPlannedDevice, prompt, generate, options));
  generate.stream = false;
  NPUMOE_ASSIGN_OR_RETURN(comparison.cpu,
                          RunArm(engine, Engine::On::kCpu, prompt, generate, options));
  const RoutingTrace& trace = comparison.planned.routing;
  NPUMOE_ASSIGN_OR_RETURN(comparison.routing, CompareRouting(comparison.cpu.routing, trace));
  const CostModel& costs = engine.npu->costs();
  Plan executed = *engine.plan;
  executed.overflow = engine.npu->overflow();
  NPUMOE_ASSIGN_OR_RETURN(comparison.planned.modelled, Simulate(executed, costs, trace, 0));
  NPUMOE_ASSIGN_OR_RETURN(comparison.cpu.modelled,
                          Simulate(WithoutNpu(*engine.plan), costs, trace, 0));
  comparison.mean_kl = MeanKl(comparison.cpu, comparison.planned, engine.model->config.vocab_size);
  comparison.same_answer = comparison.cpu.generation.ids == comparison.planned.generation.ids;
  return comparison;
}

// Where the times of a planned prefill on this machine come from.
std::string TimesOf(const Engine& engine) {
  return engine.npu->report().modelled ? "measured CPU, modelled NPU (" + engine.profile->name + ")"
                                       : "measured";
}

std::string PrintedTable(const Engine& engine, const Comparison& c) {
  const PrefillResult& planned = c.planned.generation.prefill;
  const PrefillResult& cpu = c.cpu.generation.prefill;
  const DispatchCounts& n = planned.counts;
  const std::string chip = engine.profile->name;
  const auto share = [](int64_t part, int64_t whole) {
    return FormatPercent(whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole));
  };
  Table table({fmt::format("prompt of {} tokens", planned.tokens), "CPU alone", "plan", "source"},
              {Align::kLeft, Align::kRight, Align::kRight, Align::kLeft});
  table.AddRow({"time to first token, this machine", FormatMs(cpu.time_ms),
                FormatMs(planned.time_ms), TimesOf(engine)});
  table.AddRow({"time to first token, " + chip, FormatMs(c.cpu.modelled.time_ms),
                FormatMs(c.planned.modelled.time_ms), "modelled"});
  table.AddRow({"energy of prefill, " + chip, FormatJoules(c.cpu.modelled.energy_j),
                FormatJoules(c.planned.modelled.energy_j), "modelled"});
  table.AddRow({"CPU busy, " + chip, FormatMs(c.cpu.modelled.cpu_busy_ms),
                FormatMs(c.planned.modelled.cpu_busy_ms), "modelled"});
  table.AddRow({"launches", "0", FormatCount(n.launches + planned.dense_launches), "executed"});
  if (planned.dense_launches > 0) {
    table.AddRow({"  of attention and head", "0", FormatCount(planned.dense_launches), "executed"});
  }
  table.AddRow({"expert rows on the NPU", "0", share(n.filled_rows, n.assignments()), "executed"});
  table.AddRow({"padding", "-", share(n.padding_rows(), n.capacity_rows), "executed"});
  table.AddRow({"spilled to the CPU", "-", share(n.spilled_rows, n.assignments()), "executed"});
  table.AddRow({"dropped", "0", FormatCount(n.dropped_rows), "executed"});
  table.AddRow({"mean KL against the CPU", "0", fmt::format("{:.1e}", c.mean_kl), "computed"});
  table.AddRow(
      {"router decisions that differ", "-",
       fmt::format("{} of {}", FormatCount(c.routing.different), FormatCount(c.routing.decisions)),
       "executed"});
  table.AddRow({"same answer", "-", c.same_answer ? "yes" : "NO", "computed"});
  return table.ToString();
}

std::string PrintedJson(const Engine& engine, const Comparison& c) {
  const char* first_token = engine.npu->report().modelled
                                ? "first_token_ms_measured_cpu_modelled_npu"
                                : "first_token_ms_measured";
  const auto arm = [&](const Arm& a) {
    const DispatchCounts& n = a.generation.prefill.counts;
    return nlohmann::ordered_json{{"text", a.generation.text},
                                  {first_token, a.generation.prefill.time_ms},
                                  {"first_token_ms_modelled", a.modelled.time_ms},
                                  {"energy_j_modelled", a.modelled.energy_j},
                                  {"launches", n.launches},
                                  {"dense_launches", a.generation.prefill.dense_launches},
                                  {"capacity_rows", n.capacity_rows},
                                  {"filled_rows", n.filled_rows},
                                  {"spilled_rows", n.spilled_rows},
                                  {"dropped_rows", n.dropped_rows}};
  };
  return nlohmann::ordered_json{{"chip", engine.profile->name},
                                {"cpu", arm(c.cpu)},
                                {"plan", arm(c.planned)},
                                {"mean_kl", c.mean_kl},
                                {"router_decisions", c.routing.decisions},
                                {"router_decisions_that_differ", c.routing.different},
                                {"same_answer", c.same_answer}}
             .dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace

Status CompareWithCpu(Engine& engine, std::span<const int32_t> prompt,
                      const GenerateOptions& generate, const CompareOptions& options) {
  if (!engine.uses_npu()) return UsageError("--compare-cpu needs --plan FILE");
  NPUMOE_ASSIGN_OR_RETURN(const Comparison comparison, RunBoth(engine, prompt, generate, options));
  if (options.json) {
    fmt::print("{}", PrintedJson(engine, comparison));
    return OkStatus();
  }
  fmt::print("\n\n{}\n{}", comparison.planned.modelled.timeline.Draw(78),
             PrintedTable(engine, comparison));
  return OkStatus();
}

}  // namespace npumoe::cli
