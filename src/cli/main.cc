// npumoe: the command line. One subcommand per file; see command.h.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdio>
#include <string>

#include "cli/command.h"

namespace npumoe::cli {
namespace {

constexpr int kExitError = 1;
constexpr int kExitUsage = 2;

// Every flag has an environment variable: --top-k can be set as NPUMOE_TOP_K.
void NameEnvironmentVariables(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    for (CLI::Option* option : command->get_options()) {
      if (option->get_lnames().empty() || option->get_lnames().front() == "help") continue;
      std::string name = "NPUMOE_" + option->get_lnames().front();
      for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
      option->envname(name);
    }
  }
}

int Main(int argc, char** argv) {
  CLI::App app{
      "npumoe runs Mixture-of-Experts language models with prefill on an NPU.\n"
      "Calibrate who is popular, plan static capacities, compile packages, run."};
  app.require_subcommand(1);
  app.footer(
      "Example:\n  npumoe run models/demo \"The special magic number is\" -n 8\n\n"
      "npumoe COMMAND --help explains a command. Every flag --some-flag may also be given\n"
      "as the environment variable NPUMOE_SOME_FLAG.");
  CommandBody selected;
  AddRunCommand(app, selected);
  AddShowCommand(app, selected);
  AddTokenizeCommand(app, selected);
  AddCalibrateCommand(app, selected);
  AddPlanCommand(app, selected);
  AddCompileCommand(app, selected);
  AddVerifyCommand(app, selected);
  AddPerplexityCommand(app, selected);
  AddDumpCommand(app, selected);
  AddDoctorCommand(app, selected);
  AddBenchCommand(app, selected);
  AddVersionCommand(app, selected);
  NameEnvironmentVariables(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  const Status status = selected();
  if (status.ok()) return std::fflush(stdout) == 0 ? 0 : kExitError;
  fmt::print(stderr, "npumoe: error: {}\n", status.message());
  return status.code() == StatusCode::kUsage ? kExitUsage : kExitError;
}

}  // namespace
}  // namespace npumoe::cli

int main(int argc, char** argv) {
  try {
    return npumoe::cli::Main(argc, argv);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "npumoe: error: out of memory: use a smaller context (-c) or model\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "npumoe: internal error: {}\n", error.what());
  }
  return 1;
}
