// npumoe compile: writes a plan's packages into the cache, content-addressed.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "cli/engine.h"
#include "cli/progress.h"
#include "cli/table.h"

namespace npumoe::cli {
namespace {

struct Options {
  std::string model;
  std::string plan;
  std::string cache;
  bool json = false;
};

void PrintJson(const CompileReport& report, const std::string& cache) {
  nlohmann::ordered_json programs = nlohmann::ordered_json::array();
  for (const CompiledProgram& program : report.programs) {
    programs.push_back({{"kind", Name(program.id.kind)},
                        {"layer", program.id.layer},
                        {"program", program.id.index},
                        {"package", program.package.string()},
                        {"function", program.function},
                        {"key", program.key}});
  }
  fmt::print("{}\n", nlohmann::ordered_json{{"cache", cache},
                                            {"written", report.written},
                                            {"reused", report.reused},
                                            {"bytes_written", report.bytes_written},
                                            {"bytes", report.bytes_total},
                                            {"largest_weight_error", report.largest_weight_error},
                                            {"programs", programs}}
                         .dump(2));
}

// Of experts, and of attention and head where the plan has them.
std::string RoundedFormats(const Plan& plan) {
  const bool has_dense = !plan.attention.layers.empty() || !plan.head.rows.empty();
  const std::string experts = Name(plan.weight_format), dense = Name(plan.dense_weight_format);
  if (!has_dense || experts == dense) return experts;
  if (plan.weight_format == WeightFormat::kF16) return dense + " (attention and head)";
  if (plan.dense_weight_format == WeightFormat::kF16) return experts + " (experts)";
  return experts + " (experts) and " + dense + " (attention and head)";
}

Status RunCompile(const Options& options) {
  NPUMOE_ASSIGN_OR_RETURN(const auto model, LoadModel(options.model));
  NPUMOE_ASSIGN_OR_RETURN(const Plan plan, ReadPlanFile(options.plan));
  NPUMOE_ASSIGN_OR_RETURN(const ChipProfile profile, LoadProfileOf(plan, options.plan));
  NPUMOE_RETURN_IF_ERROR(
      CheckPlanFits(plan, model->config, model->hash, profile).WithContext(options.plan));
  const std::filesystem::path cache =
      options.cache.empty() ? DefaultCacheFolder() : std::filesystem::path(options.cache);
  Progress progress("compiling", "programs");
  NPUMOE_ASSIGN_OR_RETURN(const CompileReport report,
                          CompilePlan(plan, *model, profile, cache, [&](const CompileProgress& p) {
                            progress.Update(p.done, p.total);
                          }));
  if (options.json) {
    PrintJson(report, cache.string());
  } else {
    fmt::print("{} packages ({}) in {}: {} written, {} already there\n", report.programs.size(),
               FormatBytes(static_cast<double>(report.bytes_total)), cache.string(), report.written,
               report.reused);
    if (report.largest_weight_error > 0) {
      fmt::print("weights rounded to {}: the worst matrix is off by {} (root mean square)\n",
                 RoundedFormats(plan), FormatPercent(report.largest_weight_error));
    }
  }
  return OkStatus();
}

}  // namespace

void AddCompileCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand("compile", "Write a plan's packages for the device");
  auto options = std::make_shared<Options>();
  command->add_option("model,-m,--model", options->model, "Model folder or GGUF file")->required();
  command->add_option("--plan", options->plan, "From `npumoe plan`")->required();
  command->add_option("--cache", options->cache, "Folder of compiled packages");
  command->add_flag("--json", options->json, "Machine-readable output");
  command->footer("Example:\n  npumoe compile models/demo --plan demo.plan.json --cache packages");
  command->callback(
      [options, &selected] { selected = [options] { return RunCompile(*options); }; });
}

}  // namespace npumoe::cli
