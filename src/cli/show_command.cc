// npumoe show: what a model (folder or GGUF) or a plan file holds.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>

#include "cli/command.h"
#include "cli/engine.h"
#include "cli/model_facts.h"
#include "cli/table.h"

namespace npumoe::cli {
namespace {

struct Options {
  std::string path;
  bool json = false;
};

Status ShowModel(const Options& options) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, options.json ? ModelFactsJson(options.path)
                                                               : ModelFactsText(options.path));
  fmt::print("{}", text);
  return OkStatus();
}

Status ShowPlan(const Options& options) {
  NPUMOE_ASSIGN_OR_RETURN(const Plan plan, ReadPlanFile(options.path));
  if (options.json) {
    fmt::print("{}\n", SerializePlan(plan));
    return OkStatus();
  }
  fmt::print("plan {}: strategy {}, objective {}, chunk {} tokens, chip {}, overflow {}\n\n",
             plan.Hash().substr(0, 12), Name(plan.strategy), Name(plan.objective),
             plan.chunk_tokens, plan.profile_name, Name(plan.overflow));
  Table table({"layer", "program", "form", "experts", "rows", "smallest", "largest"});
  for (const LayerPlan& layer : plan.layers) {
    for (size_t p = 0; p < layer.programs.size(); ++p) {
      const PlannedProgram& program = layer.programs[p];
      const auto [low, high] = std::minmax_element(
          program.experts.begin(), program.experts.end(),
          [](const PlannedExpert& a, const PlannedExpert& b) { return a.capacity < b.capacity; });
      table.AddRow({std::to_string(layer.layer), std::to_string(p), Name(program.form),
                    std::to_string(program.experts.size()), FormatCount(program.CapacityRows()),
                    std::to_string(low->capacity), std::to_string(high->capacity)});
    }
    if (layer.programs.empty()) table.AddRow({std::to_string(layer.layer), "CPU"});
  }
  fmt::print("{}", table.ToString());
  if (!plan.attention.layers.empty()) {
    fmt::print("attention: {} layers, histories of {} tokens\n", plan.attention.layers.size(),
               fmt::join(plan.attention.history_tokens, ", "));
  }
  if (!plan.head.rows.empty()) {
    fmt::print("vocabulary head: {} rows, slices of {} entries\n", fmt::join(plan.head.rows, ", "),
               plan.head.slice_entries);
  }
  for (const std::string& note : plan.notes) fmt::print("note: {}\n", note);
  return OkStatus();
}

}  // namespace

void AddShowCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command =
      app.add_subcommand("show", "Describe a model (folder or GGUF) or a plan file");
  auto options = std::make_shared<Options>();
  command->add_option("path,-m,--model", options->path, "Model folder, GGUF file or .plan.json")
      ->required();
  command->add_flag("--json", options->json, "Machine-readable output");
  command->footer("Example:\n  npumoe show models/demo");
  command->callback([options, &selected] {
    selected = [options] {
      return std::filesystem::path(options->path).extension() == ".json" ? ShowPlan(*options)
                                                                         : ShowModel(*options);
    };
  });
}

}  // namespace npumoe::cli
