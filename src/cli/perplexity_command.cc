// npumoe perplexity: perplexity as llama-perplexity defines it, and with --kl-against how far a
// device's answers are from another's.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/comparison_report.h"
#include "cli/devices.h"
#include "cli/engine.h"
#include "cli/input.h"
#include "cli/progress.h"
#include "eval/kl.h"
#include "eval/perplexity.h"
#include "runtime/trace_recorder.h"

namespace npumoe::cli {
namespace {

struct Options {
  EngineOptions engine;
  std::string file;
  std::string ids_file;
  int64_t window_tokens = 512;
  int64_t max_windows = 0;
  std::string kl_against;
  std::string calibration;
  bool json = false;
};

// As llama-perplexity does it: where texts begin with BOS, every window does. Its first token is
// never predicted, so no score is lost.
void BeginWindows(std::span<const int32_t> prefix, int64_t window_tokens,
                  std::vector<int32_t>& ids) {
  for (size_t begin = 0; begin < ids.size(); begin += static_cast<size_t>(window_tokens)) {
    const size_t count = std::min(prefix.size(), ids.size() - begin);
    std::copy_n(prefix.begin(), count, ids.begin() + static_cast<std::ptrdiff_t>(begin));
  }
}

Result<std::vector<int32_t>> ReadTokens(const Options& options, const Model& model) {
  std::vector<int32_t> ids;
  if (!options.ids_file.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(ids, ReadIdsFile(options.ids_file, model.config.vocab_size));
  } else if (!options.file.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadText(options.file));
    Result<std::vector<int32_t>> encoded = EncodeText(model, text, SpecialTokens::kAsText);
    if (!encoded.ok()) return encoded.status().WithContext(options.file);
    ids = std::move(*encoded);
    BeginWindows(model.tokenizer->prefix_ids(), options.window_tokens, ids);
  } else {
    return UsageError("perplexity needs -f TEXT or --ids-file IDS");
  }
  return ids;
}

Status PrintPerplexity(const Options& options, Engine& engine, std::span<const int32_t> ids) {
  NPUMOE_ASSIGN_OR_RETURN(const auto session, engine.NewSession(options.window_tokens, nullptr));
  Progress progress("perplexity", "windows");
  NPUMOE_ASSIGN_OR_RETURN(
      const PerplexityResult result,
      MeasurePerplexity(*session, ids, {options.window_tokens, options.max_windows},
                        [&](const WindowProgress& p) { progress.Update(p.done, p.total); }));
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"perplexity", result.perplexity},
                                              {"uncertainty", result.uncertainty},
                                              {"mean_nll", result.mean_nll},
                                              {"windows", result.windows},
                                              {"scored_tokens", result.scored_tokens}}
                           .dump(2));
  } else {
    fmt::print("PPL = {:.4f} +/- {:.5f} ({} window{} of {} tokens, {} scored)\n", result.perplexity,
               result.uncertainty, result.windows, result.windows == 1 ? "" : "s",
               options.window_tokens, result.scored_tokens);
  }
  return OkStatus();
}

// The device of --kl-against: the same engine for the CPU, else one of its own, kept in `other`.
Result<Engine*> OpenReference(const Options& options, Engine& engine,
                              std::unique_ptr<Engine>& other) {
  if (options.kl_against == kCpuDevice) return &engine;
  EngineOptions reference = options.engine;
  reference.device = options.kl_against;
  NPUMOE_ASSIGN_OR_RETURN(other, OpenEngine(reference));
  return other.get();
}

Status CompareDevices(const Options& options, Engine& engine, Engine& reference_engine,
                      std::span<const int32_t> ids, ComparisonContext& context) {
  TraceRecorder recorder(engine.model->config);
  TraceRecorder reference_recorder(engine.model->config);
  const auto on = options.kl_against == kCpuDevice ? Engine::On::kCpu : Engine::On::kPlannedDevice;
  NPUMOE_ASSIGN_OR_RETURN(
      const auto reference,
      reference_engine.NewSession(options.window_tokens, &reference_recorder, on));
  NPUMOE_ASSIGN_OR_RETURN(const auto candidate,
                          engine.NewSession(options.window_tokens, &recorder));
  {
    Progress progress("comparing", "windows");
    NPUMOE_ASSIGN_OR_RETURN(
        context.result,
        CompareSessions(*reference, *candidate, ids, options.window_tokens,
                        [&](const WindowProgress& p) { progress.Update(p.done, p.total); }));
  }
  NPUMOE_ASSIGN_OR_RETURN(context.routing,
                          CompareRouting(reference_recorder.Trace(), recorder.Trace()));
  if (!engine.uses_npu()) return OkStatus();
  return AddCounts(engine, recorder.Trace(), options.calibration, context);
}

Status PrintComparison(const Options& options, Engine& engine, std::span<const int32_t> ids) {
  std::unique_ptr<Engine> other;
  NPUMOE_ASSIGN_OR_RETURN(Engine* const reference, OpenReference(options, engine, other));
  const auto wanted = static_cast<size_t>(options.max_windows * options.window_tokens);
  if (wanted > 0 && ids.size() > wanted) ids = ids.first(wanted);
  ComparisonContext context;
  context.window_tokens = options.window_tokens;
  context.device = engine.uses_npu() ? DeviceOf(options.engine) : kCpuDevice;
  context.against = options.kl_against;
  NPUMOE_RETURN_IF_ERROR(CompareDevices(options, engine, *reference, ids, context));
  fmt::print("{}", options.json ? ComparisonJson(context) + "\n" : ComparisonText(context));
  if (!context.counts_agree()) {
    return InvalidInput("executed dispatch counts differ from those recounted from the trace");
  }
  return other == nullptr ? OkStatus() : CheckRequiredNpu(*other, options.engine);
}

Status CheckOptions(const Options& options) {
  if (options.kl_against.empty()) return OkStatus();
  NPUMOE_RETURN_IF_ERROR(CheckDeviceName("--kl-against", options.kl_against));
  if (options.engine.plan.empty()) {
    return UsageError(
        fmt::format("--kl-against {} compares a planned device with it: add --plan "
                    "FILE",
                    options.kl_against));
  }
  if (options.engine.device == kCpuDevice && options.kl_against == kCpuDevice) {
    return UsageError("--device cpu --kl-against cpu compares the CPU with itself: name another");
  }
  if (options.engine.device == kCpuDevice && !options.calibration.empty()) {
    return UsageError(
        "--calibration predicts what a device executes: with --device cpu there is "
        "nothing to predict");
  }
  return OkStatus();
}

Status RunPerplexity(const Options& options) {
  NPUMOE_RETURN_IF_ERROR(CheckOptions(options));
  NPUMOE_ASSIGN_OR_RETURN(const auto engine, OpenEngine(options.engine));
  NPUMOE_ASSIGN_OR_RETURN(const auto ids, ReadTokens(options, *engine->model));
  NPUMOE_RETURN_IF_ERROR(options.kl_against.empty() ? PrintPerplexity(options, *engine, ids)
                                                    : PrintComparison(options, *engine, ids));
  return CheckRequiredNpu(*engine, options.engine);
}

}  // namespace

void AddPerplexityCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command =
      app.add_subcommand("perplexity", "Perplexity of a text; KL divergence between two devices");
  auto options = std::make_shared<Options>();
  AddModelOption(*command, options->engine);
  AddThreadOption(*command, options->engine);
  AddDeviceOptions(*command, options->engine);
  auto* file = command->add_option("-f,--file", options->file, "UTF-8 text");
  command->add_option("--ids-file", options->ids_file, "Token ids instead of text")->excludes(file);
  command->add_option("-c,--ctx-size", options->window_tokens, "Window length in tokens")
      ->check(CLI::Range(int64_t{4}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--chunks", options->max_windows, "Use only the first windows (0: all)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--kl-against", options->kl_against,
                      "Compare with this device on the same text: cpu, or one of `npumoe "
                      "--list-devices` under the same plan");
  command->add_option("--calibration", options->calibration,
                      "With --kl-against: print what this calibration predicted, with its error");
  command->add_flag("--json", options->json, "Machine-readable output");
  command->footer(
      "Example:\n  npumoe perplexity models/demo -f models/demo/held_out_text.txt\n"
      "  npumoe perplexity models/demo -f text.txt --plan demo.plan.json "
      "--kl-against cpu");
  command->callback(
      [options, &selected] { selected = [options] { return RunPerplexity(*options); }; });
}

}  // namespace npumoe::cli
