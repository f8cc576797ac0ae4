// npumoe calibrate: runs text through the CPU path and counts which experts its tokens choose.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/mapped_file.h"
#include "calibrate/calibration_builder.h"
#include "calibrate/popularity.h"
#include "cli/calibration_file.h"
#include "cli/command.h"
#include "cli/engine.h"
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/validators.h"

namespace npumoe::cli {
namespace {

struct Options {
  EngineOptions engine;
  std::vector<std::string> data;
  std::vector<std::string> ids_files;
  std::vector<std::string> merge;
  std::string out;
  int64_t sequence_tokens = 2048;
  int64_t max_tokens = 0;
  double holdout = 0.2;
  bool force = false;
  bool json = false;
};

// Feeds what the run tells into the builder.
class CalibrationObserver final : public Observer {
 public:
  explicit CalibrationObserver(CalibrationBuilder& builder) : builder_(builder) {}
  bool WantsActivations() const override { return true; }
  void OnRouting(const RoutingEvent& event) override {
    Keep(builder_.AddRouting(event.layer, event.ids));
  }
  void OnActivation(const ActivationEvent& event) override {
    Keep(builder_.AddActivation(event.layer, event.expert, event.inner_max, event.output_max));
  }
  const Status& status() const { return status_; }

 private:
  void Keep(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  CalibrationBuilder& builder_;
  Status status_;  // the first failure
};

struct Source {
  std::string name;  // file name and content hash
  std::vector<int32_t> ids;
  std::vector<int32_t> prefix;  // before each sequence that is cut from it: BOS, or nothing
};

Result<std::vector<Source>> ReadSources(const Options& options, const Model& model) {
  std::vector<Source> sources;
  const auto add = [&](const std::string& path, std::vector<int32_t> ids,
                       std::span<const int32_t> prefix) {
    if (options.max_tokens > 0 && static_cast<int64_t>(ids.size()) > options.max_tokens) {
      ids.resize(static_cast<size_t>(options.max_tokens));
    }
    Hasher hasher;
    hasher.Add(std::as_bytes(std::span(ids)));
    sources.push_back(
        {fmt::format("{} ({} tokens, {})", std::filesystem::path(path).filename().string(),
                     ids.size(), hasher.Hex()),
         std::move(ids),
         {prefix.begin(), prefix.end()}});
  };
  for (const std::string& path : options.data) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
    Result<std::vector<int32_t>> ids = EncodeText(model, text, SpecialTokens::kAsText);
    if (!ids.ok()) return ids.status().WithContext(path);
    const std::span<const int32_t> prefix = model.tokenizer->prefix_ids();
    // Each sequence gets it below, the first one, too.
    ids->erase(ids->begin(), ids->begin() + static_cast<std::ptrdiff_t>(prefix.size()));
    add(path, std::move(*ids), prefix);
  }
  for (const std::string& path : options.ids_files) {
    NPUMOE_ASSIGN_OR_RETURN(auto ids, ReadIdsFile(path, model.config.vocab_size));
    add(path, std::move(ids), {});
  }
  return sources;
}

Status RunSources(const Options& options, Engine& engine, const std::vector<Source>& sources,
                  CalibrationBuilder& builder) {
  CalibrationObserver observer(builder);
  const int64_t sequence =
      std::min<int64_t>(options.sequence_tokens, engine.model->config.max_position_embeddings);
  NPUMOE_ASSIGN_OR_RETURN(const auto session, engine.NewSession(sequence, &observer));
  int64_t total = 0;
  for (const Source& source : sources) total += static_cast<int64_t>(source.ids.size());
  Progress progress("calibrating", "tokens");
  InterruptGuard interrupt;
  int64_t done = 0;
  for (const Source& source : sources) {
    builder.AddSource(source.name);
    const size_t prefix = source.prefix.size();
    std::vector<int32_t> part = source.prefix;
    for (std::span<const int32_t> rest = source.ids; !rest.empty();) {
      const size_t count = std::min(rest.size(), static_cast<size_t>(sequence) - prefix);
      part.resize(prefix);
      part.insert(part.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(count));
      rest = rest.subspan(count);
      NPUMOE_RETURN_IF_ERROR(builder.BeginSequence());
      NPUMOE_RETURN_IF_ERROR(session->Rewind(0));
      NPUMOE_RETURN_IF_ERROR(
          session
              ->Prefill(part, LogitsWanted::kLastRow, [] { return InterruptGuard::Interrupted(); })
              .status());
      NPUMOE_RETURN_IF_ERROR(observer.status());
      progress.Update(done += static_cast<int64_t>(count), total);
    }
  }
  return OkStatus();
}

Result<Calibration> CalibrateSources(const Options& options, Engine& engine) {
  const Model& model = *engine.model;
  NPUMOE_ASSIGN_OR_RETURN(const auto sources, ReadSources(options, model));
  CalibrationHeader header;
  header.model_hash = model.hash;
  if (!options.data.empty()) header.tokenizer_hash = model.tokenizer_hash;
  header.num_experts = model.config.moe.num_experts;
  header.experts_per_token = model.config.moe.experts_per_token;
  header.shared_experts = model.config.moe.has_shared_expert() ? 1 : 0;
  header.layers = model.config.MoeLayers();
  NPUMOE_ASSIGN_OR_RETURN(CalibrationBuilder builder, CalibrationBuilder::Create(header));
  NPUMOE_RETURN_IF_ERROR(RunSources(options, engine, sources, builder));
  return builder.Finish();
}

// One line of the report: how skewed a layer is, and whether it holds on held-out text.
struct LayerReport {
  int layer = 0;
  Skew skew;
  double top_quarter = 0;           // share of assignments of the most popular quarter
  double held_out_top_quarter = 0;  // of the same experts on the held-out part
  double largest_activation = 0;
};

Result<std::vector<LayerReport>> MeasureLayers(const Calibration& calibration, double holdout) {
  NPUMOE_ASSIGN_OR_RETURN(const auto parts, SplitCalibration(calibration, 1 - holdout));
  const int quarter = std::max(1, calibration.num_experts / 4);
  std::vector<LayerReport> layers;
  for (size_t l = 0; l < calibration.layers.size(); ++l) {
    LayerReport report;
    report.layer = calibration.layers[l].layer;
    report.skew = MeasureSkew(ExpertShares(calibration, l));
    report.top_quarter = Coverage(parts.first, parts.first, l, quarter);
    report.held_out_top_quarter = Coverage(parts.first, parts.second, l, quarter);
    for (const ExpertActivationMax& max : calibration.layers[l].activation) {
      report.largest_activation =
          std::max<double>({report.largest_activation, max.inner, max.output});
    }
    layers.push_back(report);
  }
  return layers;
}

void PrintJson(const Calibration& calibration, const std::vector<LayerReport>& layers,
               const std::string& out) {
  nlohmann::ordered_json lines = nlohmann::ordered_json::array();
  for (const LayerReport& layer : layers) {
    lines.push_back({{"layer", layer.layer},
                     {"largest_over_mean", layer.skew.largest_over_mean},
                     {"effective_experts", layer.skew.effective_experts},
                     {"unused_experts", layer.skew.unused_experts},
                     {"top_quarter_share", layer.top_quarter},
                     {"held_out_top_quarter_share", layer.held_out_top_quarter},
                     {"largest_activation", layer.largest_activation}});
  }
  fmt::print("{}\n", nlohmann::ordered_json{{"file", out},
                                            {"tokens", calibration.tokens()},
                                            {"hash", calibration.Hash()},
                                            {"layers", lines}}
                         .dump(2));
}

void PrintTable(const Calibration& calibration, const std::vector<LayerReport>& layers,
                const std::string& out, double holdout) {
  fmt::print("calibrated on {} tokens -> {}\n\n", FormatCount(calibration.tokens()), out);
  Table table({"layer", "largest/mean", "effective experts", "unused", "top quarter", "held out",
               "largest activation"});
  for (const LayerReport& layer : layers) {
    table.AddRow({std::to_string(layer.layer), fmt::format("{:.2f}", layer.skew.largest_over_mean),
                  fmt::format("{:.1f}", layer.skew.effective_experts),
                  std::to_string(layer.skew.unused_experts), FormatPercent(layer.top_quarter),
                  FormatPercent(layer.held_out_top_quarter),
                  fmt::format("{:.1f}", layer.largest_activation)});
  }
  fmt::print(
      "{}\nTop quarter: share of the assignments that the most popular quarter of the experts"
      " takes on the\nfirst {:.0f}% of the tokens; held out: the same experts on the rest.\n",
      table.ToString(), (1 - holdout) * 100);
}

Status PrintReport(const Calibration& calibration, const Options& options) {
  Result<std::vector<LayerReport>> layers = MeasureLayers(calibration, options.holdout);
  if (!layers.ok() && options.json) {  // too short to hold anything out
    PrintJson(calibration, {}, options.out);
    return OkStatus();
  }
  if (!layers.ok()) {
    fmt::print("calibrated on {} tokens -> {}\nno coverage: {}\n",
               FormatCount(calibration.tokens()), options.out, layers.status().message());
    return OkStatus();
  }
  if (options.json) {
    PrintJson(calibration, *layers, options.out);
  } else {
    PrintTable(calibration, *layers, options.out, options.holdout);
  }
  return OkStatus();
}

// What nobody asked to replace must survive; said before the work, not after it.
Status CheckOutput(const Options& options) {
  std::error_code ignored;  // a path that cannot be examined fails when it is written
  if (options.force || !std::filesystem::exists(options.out, ignored)) return OkStatus();
  return UsageError(options.out + ": exists already; choose another name or add --force");
}

Status RunCalibrate(const Options& options) {
  if (options.data.empty() && options.ids_files.empty() && options.merge.empty()) {
    return UsageError("calibrate needs --data TEXT, --ids-file IDS or --merge FILES");
  }
  NPUMOE_RETURN_IF_ERROR(CheckOutput(options));
  NPUMOE_ASSIGN_OR_RETURN(const auto engine, OpenEngine(options.engine));
  Result<Calibration> calibrated = options.data.empty() && options.ids_files.empty()
                                       ? ReadCalibrationFile(options.merge.front())
                                       : CalibrateSources(options, *engine);
  if (!calibrated.ok()) return calibrated.status();
  Calibration calibration = std::move(*calibrated);
  const bool first_is_read = options.data.empty() && options.ids_files.empty();
  for (size_t i = first_is_read ? 1 : 0; i < options.merge.size(); ++i) {
    const std::string& path = options.merge[i];
    NPUMOE_ASSIGN_OR_RETURN(const Calibration other, ReadCalibrationFile(path));
    Result<Calibration> merged = MergeCalibrations(calibration, other);
    if (!merged.ok()) return merged.status().WithContext(path);
    calibration = std::move(*merged);
  }
  NPUMOE_RETURN_IF_ERROR(WriteFileAtomically(options.out, SerializeCalibration(calibration)));
  return PrintReport(calibration, options);
}

}  // namespace

void AddCalibrateCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand("calibrate", "Measure on text which experts are popular");
  auto options = std::make_shared<Options>();
  AddModelOption(*command, options->engine);
  AddThreadOption(*command, options->engine);
  command->add_option("--data,-f", options->data, "UTF-8 text file(s)");
  command->add_option("--ids-file", options->ids_files, "File(s) of token ids instead of text");
  command->add_option("--merge", options->merge, "Add the counts of these calibration files");
  command->add_option("--out,-o", options->out, "Output .calib.json")->required();
  command->add_option("-c,--ctx-size", options->sequence_tokens, "Tokens of one sequence")
      ->check(CLI::Range(int64_t{32}, int64_t{1} << 24))
      ->capture_default_str();
  command
      ->add_option("--max-tokens", options->max_tokens,
                   "Use only the first tokens of every file (0: all)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->capture_default_str();
  command
      ->add_option("--holdout", options->holdout, "Share of the tokens that coverage is tried on")
      ->check(Between(0.05, 0.95))
      ->capture_default_str();
  command->add_flag("--force", options->force, "Replace an output that exists");
  command->add_flag("--json", options->json, "Machine-readable report");
  command->footer(
      "Example:\n  npumoe calibrate models/demo --data models/demo/"
      "calibration_sample.txt -o demo.calib.json");
  command->callback(
      [options, &selected] { selected = [options] { return RunCalibrate(*options); }; });
}

}  // namespace npumoe::cli
