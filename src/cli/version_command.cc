#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/version.h"

namespace npumoe::cli {

void AddVersionCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand("version", "Print the version and how it was built");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Machine-readable output");
  command->footer("Example:\n  npumoe version --json");
  command->callback([json, &selected] {
    selected = [json] {
      if (*json) {
        fmt::print("{}\n",
                   nlohmann::ordered_json{
                       {"version", kVersion}, {"compiler", kCompiler}, {"build", kBuildType}}
                       .dump(2));
      } else {
        fmt::print("npumoe {} ({}, {})\n", kVersion, kCompiler, kBuildType);
      }
      return OkStatus();
    };
  });
}

}  // namespace npumoe::cli
