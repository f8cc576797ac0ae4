#include "cli/comparison_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/calibration_file.h"
#include "cli/table.h"
#include "plan/plan_for_chunk.h"
#include "runtime/recount.h"

namespace npumoe::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

double Share(int64_t part, int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

double Padding(const DispatchCounts& c) { return Share(c.padding_rows(), c.capacity_rows); }
double Spill(const DispatchCounts& c) {
  return Share(c.spilled_rows + c.dropped_rows, c.assignments());
}

OrderedJson CountsJson(const DispatchCounts& c) {
  return {{"launches", c.launches},         {"capacity_rows", c.capacity_rows},
          {"filled_rows", c.filled_rows},   {"padding_rows", c.padding_rows()},
          {"spilled_rows", c.spilled_rows}, {"dropped_rows", c.dropped_rows},
          {"cpu_rows", c.cpu_rows}};
}

std::string CountsTable(const ComparisonContext& context) {
  const DispatchCounts& done = context.result.counts;
  const DispatchCounts& again = context.recounted;
  Table table({"dispatch", "executed", "recounted", "predicted", "error"});
  const auto row = [&](const std::string& name, int64_t executed, int64_t recounted) {
    table.AddRow({name, FormatCount(executed), FormatCount(recounted), "", ""});
  };
  const auto share = [&](const std::string& name, double executed, double recounted,
                         std::optional<double> predicted) {
    table.AddRow({name, FormatPercent(executed), FormatPercent(recounted),
                  predicted ? FormatPercent(*predicted) : "",
                  predicted ? fmt::format("{:+.1f} points", (*predicted - executed) * 100) : ""});
  };
  const auto& p = context.predicted;
  const int64_t expected_launches = p ? p->launches * context.result.windows : 0;
  table.AddRow({"launches", FormatCount(done.launches), FormatCount(again.launches),
                p ? FormatCount(expected_launches) : "",
                p ? fmt::format("{:+}", expected_launches - done.launches) : ""});
  row("capacity rows", done.capacity_rows, again.capacity_rows);
  row("filled rows", done.filled_rows, again.filled_rows);
  row("spilled rows", done.spilled_rows, again.spilled_rows);
  row("dropped rows", done.dropped_rows, again.dropped_rows);
  row("CPU rows by plan", done.cpu_rows, again.cpu_rows);
  share("padding", Padding(done), Padding(again), p ? std::optional(p->padding) : std::nullopt);
  share("spill", Spill(done), Spill(again), p ? std::optional(p->spill) : std::nullopt);
  share("NPU share", NpuShare(done), NpuShare(again),
        p ? std::optional(p->npu_share) : std::nullopt);
  return table.ToString();
}

// What the calibration says about a prompt of one window under the engine's plan.
Result<Prediction> PredictWindow(const Engine& engine, const std::string& calibration,
                                 int64_t window_tokens) {
  PlanInputs inputs;
  inputs.config = engine.model->config;
  inputs.model_hash = engine.model->hash;
  inputs.profile = *engine.profile;
  NPUMOE_ASSIGN_OR_RETURN(inputs.calibration, ReadCalibrationFile(calibration));
  NPUMOE_RETURN_IF_ERROR(
      CheckPlanCalibration(*engine.plan, inputs.calibration.Hash()).WithContext(calibration));
  PlanOptions options;
  options.min_npu_share = engine.plan->min_npu_share;
  options.prompt_tokens = window_tokens;
  options.weight_bytes_cpu = BytesPerWeight(*engine.model);
  NPUMOE_ASSIGN_OR_RETURN(const PlanningProblem problem,
                          PreparePlanning(inputs, options, engine.plan->chunk_tokens));
  Plan plan = *engine.plan;
  PredictValues(plan, problem.costs, PromptLoadsOf(problem));
  return plan.predicted;
}

}  // namespace

Status AddCounts(Engine& engine, const RoutingTrace& trace, const std::string& calibration,
                 ComparisonContext& context) {
  const std::vector<ChunkSpan> chunks =
      CutIntoChunks(*engine.plan, engine.npu->costs(), context.window_tokens, 0);
  for (size_t window = 0; window < trace.sequence_starts.size(); ++window) {
    NPUMOE_ASSIGN_OR_RETURN(
        const DispatchCounts counts,
        RecountDispatch(*engine.plan, engine.npu->overflow(), trace, window, chunks));
    context.recounted += counts;
  }
  if (calibration.empty()) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(context.predicted,
                          PredictWindow(engine, calibration, context.window_tokens));
  return OkStatus();
}

std::string ComparisonText(const ComparisonContext& context) {
  const ComparisonResult& r = context.result;
  std::string text = fmt::format("{} windows of {} tokens, {} against {}:\n\n", r.windows,
                                 context.window_tokens, context.device, context.against);
  Table table({"numbers", ""});
  table.AddRow({"mean KL", fmt::format("{:.2e} +/- {:.0e}", r.mean_kl, r.kl_standard_error)});
  table.AddRow({"largest KL", fmt::format("{:.2e}", r.max_kl)});
  table.AddRow({"same most likely token", fmt::format("{:.3f}%", r.top1_agreement * 100)});
  table.AddRow({"mean KL of tokens that are routed alike",
                fmt::format("{:.2e}", MeanKlOfSameRouting(r, context.routing))});
  table.AddRow({"router decisions that differ",
                fmt::format("{} of {}", FormatCount(context.routing.different),
                            FormatCount(context.routing.decisions))});
  table.AddRow({"largest logit error / largest logit", fmt::format("{:.1e}", r.max_logit_error)});
  table.AddRow({"perplexity on " + context.against, fmt::format("{:.4f}", r.reference_perplexity)});
  table.AddRow({"perplexity on " + context.device, fmt::format("{:.4f}", r.candidate_perplexity)});
  text += table.ToString();
  if (!context.has_counts()) return text;
  text += "\n" + CountsTable(context) +
          "\nRecounted: by the planner, from the routing that this run recorded. Predicted: from\n"
          "the calibration alone.\n";
  return text;
}

std::string ComparisonJson(const ComparisonContext& context) {
  const ComparisonResult& r = context.result;
  OrderedJson json = {{"device", context.device},
                      {"against", context.against},
                      {"windows", r.windows},
                      {"window_tokens", context.window_tokens},
                      {"rows", r.rows},
                      {"mean_kl", r.mean_kl},
                      {"kl_standard_error", r.kl_standard_error},
                      {"max_kl", r.max_kl},
                      {"top1_agreement", r.top1_agreement},
                      {"max_logit_error", r.max_logit_error},
                      {"mean_kl_same_routing", MeanKlOfSameRouting(r, context.routing)},
                      {"router_decisions", context.routing.decisions},
                      {"router_decisions_that_differ", context.routing.different},
                      {"reference_perplexity", r.reference_perplexity},
                      {"candidate_perplexity", r.candidate_perplexity}};
  if (!context.has_counts()) return json.dump(2);
  json["executed"] = CountsJson(r.counts);
  json["recounted"] = CountsJson(context.recounted);
  json["executed_padding"] = Padding(r.counts);
  json["executed_spill"] = Spill(r.counts);
  if (context.predicted) {
    json["predicted"] = {
        {"launches", context.predicted->launches * r.windows},
        {"padding", context.predicted->padding},
        {"spill", context.predicted->spill},
        {"npu_share", context.predicted->npu_share},
        {"launches_error", context.predicted->launches * r.windows - r.counts.launches},
        {"padding_error", context.predicted->padding - Padding(r.counts)},
        {"spill_error", context.predicted->spill - Spill(r.counts)},
        {"npu_share_error", context.predicted->npu_share - NpuShare(r.counts)}};
  }
  return json.dump(2);
}

}  // namespace npumoe::cli
