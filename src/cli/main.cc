// npumoe: the command line. One subcommand per file; see command.h.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/devices.h"
#include "cli/interrupt.h"
#include "cli/usage_message.h"
#include "cli/version.h"

namespace npumoe::cli {
namespace {

constexpr int kExitError = 1;
constexpr int kExitUsage = 2;
constexpr int kExitSignal = 128;  // plus the signal's number, as shells report what one ended

// What a command reads and writes, and what it is asked to report, stands on the command line only:
// a variable left over in the environment must not compete with it. README.md lists these.
bool IsSetting(const std::string& name) {
  static const std::set<std::string> not_settings = {
      "help",           "model",    "prompt", "file",       "ids-file", "data",     "text",
      "jsonl",          "path",     "out",    "merge",      "package",  "function", "inputs",
      "calibration",    "frontier", "replay", "json",       "plan",     "explain",  "routing",
      "replay-routing", "type",     "force",  "requantize", "report"};
  return not_settings.count(name) == 0;
}

// As in llama.cpp, the last value of an option counts when it is given twice.
void TakeLastValues(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    for (CLI::Option* option : command->get_options()) {
      if (option->get_expected_max() > 1) continue;  // lists, as --data
      option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    }
  }
}

// Every setting has an environment variable: --top-k can be set as NPUMOE_TOP_K. Help shows it.
void NameEnvironmentVariables(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    for (CLI::Option* option : command->get_options()) {
      if (option->get_lnames().empty() || !IsSetting(option->get_lnames().front())) continue;
      std::string name = "NPUMOE_" + option->get_lnames().front();
      for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
      option->envname(name);
    }
  }
}

// Whether the first word names a command; if not, says so and lists the commands.
bool KnowsCommand(const CLI::App& app, const std::string& word) {
  std::string known;
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == word) return true;
    if (command->get_group().empty()) continue;  // hidden
    known += " " + command->get_name();
    names.push_back(command->get_name());
  }
  const std::string near = NearestWord(word, names);
  fmt::print(stderr, "npumoe: error: there is no command '{}'; {}there are:{}\n", word,
             near.empty() ? "" : fmt::format("did you mean {}? ", near), known);
  return false;
}

int ExitCodeOf(const Status& status) {
  if (status.code() == StatusCode::kUsage) return kExitUsage;
  if (status.code() == StatusCode::kCancelled) {
    return kExitSignal + (InterruptGuard::Interrupted() ? InterruptGuard::Signal() : SIGINT);
  }
  return kExitError;
}

int Main(int argc, char** argv) {
  CLI::App app{
      "npumoe runs Mixture-of-Experts language models with prefill on an NPU.\n"
      "Calibrate who is popular, plan static capacities, compile packages, run."};
  app.require_subcommand(1);
  app.footer(
      "Example:\n  npumoe run models/demo \"The special magic number is\" -n 8\n\n"
      "npumoe COMMAND --help explains a command. Where it says (Env:NPUMOE_SOME_FLAG), the\n"
      "environment variable sets what --some-flag would.");
  CommandBody selected;
  AddRunCommand(app, selected);
  AddShowCommand(app, selected);
  AddConvertCommand(app, selected);
  AddTokenizeCommand(app, selected);
  AddCalibrateCommand(app, selected);
  AddPlanCommand(app, selected);
  AddCompileCommand(app, selected);
  AddVerifyCommand(app, selected);
  AddPerplexityCommand(app, selected);
  AddDumpCommand(app, selected);
  AddDoctorCommand(app, selected);
  AddProfileCommand(app, selected);
  AddBenchCommand(app, selected);
  AddNpuWorkerCommand(app, selected);
  AddVersionCommand(app, selected);
  TakeLastValues(app);
  NameEnvironmentVariables(app);

  app.set_version_flag("--version,-v", fmt::format("npumoe {}", kVersion));
  const auto list_devices = [] { throw CLI::CallForVersion(DeviceTable(), 0); };
  app.add_flag_callback("--list-devices", list_devices, "What --device takes, and exit");

  if (argc > 1 && argv[1][0] != '-' && !KnowsCommand(app, argv[1])) return kExitUsage;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // help, version, devices
    fmt::print(stderr, "{}", UsageMessage(app, error));
    return kExitUsage;
  }
  const Status status = selected();
  const bool is_written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (status.ok() && is_written) return 0;
  fmt::print(
      stderr, "npumoe: error: {}\n",
      status.ok() ? "standard output cannot be written; is the disk full?" : status.message());
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace npumoe::cli

int main(int argc, char** argv) {
  // Where a limit on file sizes is reached, writing fails with an error that names the file.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return npumoe::cli::Main(argc, argv);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "npumoe: error: out of memory: use a smaller context (-c) or model\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "npumoe: internal error: {}\n", error.what());
  }
  return 1;
}
