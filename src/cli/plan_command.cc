// npumoe plan: decides chunk length, capacities, programs and what stays on the CPU.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "cli/calibration_file.h"
#include "cli/command.h"
#include "cli/engine.h"
#include "cli/frontier_report.h"
#include "cli/table.h"
#include "cli/validators.h"
#include "plan/planner.h"

namespace npumoe::cli {
namespace {

const std::vector<std::string> kWeightFormats = {"fp16",         "int8", "int8-block32",
                                                 "int4-block32", "lut4", "lut6"};

struct Options {
  std::string model;
  std::string calibration;
  std::string chip = "m2-max";
  std::string strategy = "optimal";
  std::string objective = "latency";
  std::string overflow = "spill";
  bool allow_lossy = false;
  double min_npu_share = 0;
  std::string weights = "fp16";
  std::string dense_weights = "fp16";
  int buckets = 1;
  std::string attention = "auto";
  std::string head = "auto";
  std::vector<int> chunks;
  int64_t prompt_tokens = 1024;
  bool explain = false;
  bool json = false;
  std::string out;
  bool frontier = false;
  FrontierSource frontier_source;
};

Result<PlanOptions> ParseOptions(const Options& options, const Model& model) {
  PlanOptions plan;
  NPUMOE_ASSIGN_OR_RETURN(plan.strategy, ParseStrategy(options.strategy));
  NPUMOE_ASSIGN_OR_RETURN(plan.objective, ParseObjective(options.objective));
  NPUMOE_ASSIGN_OR_RETURN(plan.overflow, ParseOverflowMode(options.overflow));
  if (plan.overflow == OverflowMode::kDrop && !options.allow_lossy) {
    return UsageError("--overflow drop changes answers: add --allow-lossy, or keep spill");
  }
  if (plan.strategy == Strategy::kCpu && options.min_npu_share > 0) {
    return UsageError("--strategy cpu and --min-npu-share contradict each other");
  }
  plan.min_npu_share = options.min_npu_share;
  NPUMOE_ASSIGN_OR_RETURN(plan.weight_format, ParseWeightFormat(options.weights));
  NPUMOE_ASSIGN_OR_RETURN(plan.dense_weight_format, ParseWeightFormat(options.dense_weights));
  plan.max_buckets = options.buckets;
  NPUMOE_ASSIGN_OR_RETURN(plan.attention, ParseNpuUse(options.attention));
  NPUMOE_ASSIGN_OR_RETURN(plan.head, ParseNpuUse(options.head));
  plan.prompt_tokens = options.prompt_tokens;
  plan.chunk_candidates = options.chunks;
  plan.weight_bytes_cpu = BytesPerWeight(model);
  return plan;
}

Result<PlanInputs> ReadInputs(const Options& options, const Model& model) {
  PlanInputs inputs;
  inputs.config = model.config;
  inputs.model_hash = model.hash;
  NPUMOE_ASSIGN_OR_RETURN(inputs.calibration, ReadCalibrationFile(options.calibration));
  NPUMOE_ASSIGN_OR_RETURN(inputs.profile, LoadChipProfile(options.chip, ChipFolders()));
  return inputs;
}

std::string WithSpread(const Estimate& estimate, double scale, const char* unit) {
  return fmt::format("{:.2f} ± {:.2f} {}", estimate.value * scale, estimate.spread * scale, unit);
}

std::string LayersOnNpu(const Plan& plan) {
  const AttentionPlan& attention = plan.attention;
  if (attention.layers.empty()) return "no";
  return fmt::format("{} layers, histories to {} tokens", attention.layers.size(),
                     FormatCount(attention.history_tokens.back()));
}

void PrintSummary(const Plan& plan, const std::string& out) {
  const Prediction& p = plan.predicted;
  const Prediction& cpu = plan.predicted_cpu;
  fmt::print("plan for {}: strategy {}, chunk {} tokens, {} programs{}\n\n", plan.profile_name,
             Name(plan.strategy), plan.chunk_tokens, plan.ProgramCount(),
             out.empty() ? "" : " -> " + out);
  fmt::print("Modelled for a prompt of {} tokens:\n\n", FormatCount(p.prompt_tokens));
  Table table({"", "plan", "CPU alone"});
  table.AddRow(
      {"time to first token", WithSpread(p.time_ms, 1, "ms"), WithSpread(cpu.time_ms, 1, "ms")});
  table.AddRow({"energy", WithSpread(p.energy_j, 1e3, "mJ"), WithSpread(cpu.energy_j, 1e3, "mJ")});
  table.AddRow({"CPU busy", FormatMs(p.cpu_busy_ms.value), FormatMs(cpu.cpu_busy_ms.value)});
  table.AddRow({"NPU busy", FormatMs(p.npu_busy_ms.value), "-"});
  table.AddRow({"launches", FormatCount(p.launches), "-"});
  table.AddRow({"expert work on the NPU", FormatPercent(p.npu_share), "-"});
  table.AddRow({"attention on the NPU", LayersOnNpu(plan), "-"});
  table.AddRow({"vocabulary head on the NPU", plan.head.rows.empty() ? "no" : "yes", "-"});
  table.AddRow({"weights of experts; of attention and head",
                fmt::format("{}; {}", Name(plan.weight_format), Name(plan.dense_weight_format)),
                "-"});
  table.AddRow({"padding", FormatPercent(p.padding), "-"});
  table.AddRow({plan.overflow == OverflowMode::kDrop ? "dropped (lossy)" : "spill",
                FormatPercent(p.spill), "-"});
  table.AddRow({"weights in programs", FormatBytes(static_cast<double>(p.npu_weight_bytes)), "-"});
  fmt::print("{}", table.ToString());
  for (const std::string& note : plan.notes) fmt::print("note: {}\n", note);
  if (p.launches == 0) {
    fmt::print("note: a prompt of {} tokens is predicted best on the CPU alone{}\n",
               FormatCount(p.prompt_tokens),
               plan.ProgramCount() == 0 ? "" : "; the programs serve whole chunks of longer ones");
  }
  if (out.empty()) fmt::print("note: nothing was written; -o FILE keeps the plan\n");
}

Status MakeAndWrite(const Options& options) {
  if (options.calibration.empty()) {
    return UsageError("plan needs --calibration FILE (from `npumoe calibrate`)");
  }
  NPUMOE_ASSIGN_OR_RETURN(const auto model, LoadModel(options.model));
  NPUMOE_ASSIGN_OR_RETURN(const PlanInputs inputs, ReadInputs(options, *model));
  NPUMOE_ASSIGN_OR_RETURN(const PlanOptions plan_options, ParseOptions(options, *model));
  Result<Plan> plan = MakePlan(inputs, plan_options);
  if (!plan.ok()) return plan.status().WithContext(options.calibration);
  if (!options.out.empty()) {
    NPUMOE_RETURN_IF_ERROR(WriteFileAtomically(options.out, SerializePlan(*plan)));
  }
  if (options.json) {
    fmt::print("{}\n", SerializePlan(*plan));
  } else {
    PrintSummary(*plan, options.out);
    if (options.explain) fmt::print("\n{}", ExplainPlan(*plan, inputs, plan_options));
  }
  return OkStatus();
}

Status RunPlan(const Options& options) {
  if (!options.frontier) {
    if (options.model.empty()) return UsageError("plan needs a model folder");
    return MakeAndWrite(options);
  }
  FrontierSource source = options.frontier_source;
  source.model = options.model;
  source.calibration = options.calibration;
  source.chip = options.chip;
  source.chunk_tokens = options.chunks.empty() ? 1024 : options.chunks.front();
  return PrintFrontier(source, options.json);
}

void AddDecisionOptions(CLI::App& command, Options& options) {
  command
      .add_option("--strategy", options.strategy,
                  "How capacities, programs and residency are chosen")
      ->check(CLI::IsMember({"cpu", "naive", "base", "tiers", "tiers+groups", "paper", "optimal"}))
      ->capture_default_str();
  command.add_option("--objective", options.objective, "What to minimise")
      ->check(CLI::IsMember({"latency", "energy", "cpu-time"}))
      ->capture_default_str();
  command
      .add_option("--overflow", options.overflow,
                  "Beyond a capacity: spill, or drop with --allow-lossy")
      ->check(CLI::IsMember({"spill", "drop"}))
      ->capture_default_str();
  command.add_flag("--allow-lossy", options.allow_lossy, "Allow --overflow drop");
  command
      .add_option("--min-npu-share", options.min_npu_share,
                  "Keep at least this share of the calibrated expert work on the NPU")
      ->check(Between(0, 1))
      ->capture_default_str();
  command
      .add_option("--npu-weights", options.weights,
                  "Format of the experts' weights in programs; formats other than fp16 round them")
      ->check(CLI::IsMember(kWeightFormats))
      ->capture_default_str();
  command
      .add_option("--npu-dense-weights", options.dense_weights,
                  "The same of attention and head, whose rounding reaches every token")
      ->check(CLI::IsMember(kWeightFormats))
      ->capture_default_str();
  command
      .add_option("--buckets", options.buckets,
                  "Capacities per program at most, as functions that share its weights")
      ->check(CLI::Range(1, 8))
      ->capture_default_str();
  command
      .add_option("--npu-attention", options.attention,
                  "Attention on the NPU: auto (where predicted better), on, off")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  command.add_option("--npu-head", options.head, "The vocabulary head on the NPU: auto, on, off")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  command
      .add_option("--chunk", options.chunks,
                  "Chunk length(s) to choose from, multiples of 32 (default: 128 to 2048)")
      ->check(ChunkLength());
  command.add_option("--prompt-tokens", options.prompt_tokens, "Prompt length to plan for")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->capture_default_str();
}

}  // namespace

void AddPlanCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand(
      "plan", "Decide chunk length, capacities, programs and what stays on the CPU");
  auto options = std::make_shared<Options>();
  command->add_option("model,-m,--model", options->model, "Model folder or GGUF file");
  command->add_option("--calibration", options->calibration, "From `npumoe calibrate`");
  command->add_option("--chip", options->chip, "Chip profile: a name or a .toml file")
      ->capture_default_str();
  AddDecisionOptions(*command, *options);
  command->add_option("--out,-o", options->out, "Output .plan.json");
  auto* explain =
      command->add_flag("--explain", options->explain, "Show what was compared and what decided");
  command->add_flag("--json", options->json, "Machine-readable output")->excludes(explain);
  command->add_flag("--frontier", options->frontier,
                    "Print the padding-against-spill frontier instead of making a plan");
  AddFrontierOptions(*command, options->frontier_source);
  command->footer(
      "Example:\n  npumoe plan models/demo --calibration demo.calib.json --chip m2-max "
      "-o demo.plan.json --explain");
  command->callback([options, &selected] { selected = [options] { return RunPlan(*options); }; });
}

}  // namespace npumoe::cli
