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
  const int64_t wanted = options.max_windows * options.window_tokens;
  if (options.max_windows > 0 && static_cast<int64_t>(ids.size()) > wanted) {
    ids.resize(static_cast<size_t>(wanted));
  }
  return ids;
}

Status PrintPerplexity(const Options& options, Engine& engine, std::span<const int32_t> ids) {
  NPUMOE_ASSIGN_OR_RETURN(const auto session, engine.NewSession(options.window_tokens, nullptr));
  Progress progress("perplexity", "windows");
  NPUMOE_ASSIGN_OR_RETURN(
      const PerplexityResult result,
      MeasurePerplexity(*session, ids, options.window_tokens,
                        [&](const WindowProgress& p) { progress.Update(p.done, p.total); }));
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"perplexity", result.perplexity},
                                              {"uncertainty", result.uncertainty},
                                              {"mean_nll", result.mean_nll},
                                              {"windows", result.windows},
                                              {"scored_tokens", result.scored_tokens}}
                           .dump(2));
  } else {
    fmt::print("PPL = {:.4f} +/- {:.5f} ({} windows of {} tokens, {} scored)\n", result.perplexity,
               result.uncertainty, result.windows, options.window_tokens, result.scored_tokens);
  }
  return OkStatus();
}

Status PrintComparison(const Options& options, Engine& engine, std::span<const int32_t> ids) {
  TraceRecorder recorder(engine.model->config);
  TraceRecorder cpu_recorder(engine.model->config);
  NPUMOE_ASSIGN_OR_RETURN(const auto reference, engine.NewSession(options.window_tokens,
                                                                  &cpu_recorder, Engine::On::kCpu));
  NPUMOE_ASSIGN_OR_RETURN(const auto candidate,
                          engine.NewSession(options.window_tokens, &recorder));
  ComparisonContext context;
  context.window_tokens = options.window_tokens;
  {
    Progress progress("comparing", "windows");
    NPUMOE_ASSIGN_OR_RETURN(
        context.result,
        CompareSessions(*reference, *candidate, ids, options.window_tokens,
                        [&](const WindowProgress& p) { progress.Update(p.done, p.total); }));
  }
  NPUMOE_ASSIGN_OR_RETURN(context.routing, CompareRouting(cpu_recorder.Trace(), recorder.Trace()));
  NPUMOE_RETURN_IF_ERROR(AddCounts(engine, recorder.Trace(), options.calibration, context));
  fmt::print("{}", options.json ? ComparisonJson(context) + "\n" : ComparisonText(context));
  if (!context.counts_agree()) {
    return InvalidInput("executed dispatch counts differ from those recounted from the trace");
  }
  return OkStatus();
}

Status RunPerplexity(const Options& options) {
  if (!options.kl_against.empty() && options.kl_against != "cpu") {
    return UsageError("--kl-against takes: cpu");
  }
  NPUMOE_ASSIGN_OR_RETURN(const auto engine, OpenEngine(options.engine));
  if (!options.kl_against.empty() && !engine->uses_npu()) {
    return UsageError("--kl-against cpu compares a planned device with it: add --plan FILE");
  }
  NPUMOE_ASSIGN_OR_RETURN(const auto ids, ReadTokens(options, *engine->model));
  NPUMOE_RETURN_IF_ERROR(options.kl_against.empty() ? PrintPerplexity(options, *engine, ids)
                                                    : PrintComparison(options, *engine, ids));
  return CheckRequiredNpu(*engine, options.engine);
}

}  // namespace

void AddPerplexityCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand(
      "perplexity", "Perplexity of a text; KL divergence between a device and the CPU");
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
                      "Compare with this device on the same text: cpu");
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
