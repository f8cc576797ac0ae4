// How a command looks to main.cc: each commands' file registers one subcommand with its options
// and its help text (with an example), and returns a Status. main.cc prints the error and turns
// it into the exit code: 0, 1 for what the world did wrong, 2 for wrong usage.
//
// Answers go to stdout, progress and diagnostics to stderr; every report takes --json.
#pragma once

#include <functional>

#include "base/status.h"

namespace CLI {
class App;
}

namespace npumoe::cli {

// The body of the subcommand that the command line selected.
using CommandBody = std::function<Status()>;

void AddRunCommand(CLI::App& app, CommandBody& selected);
void AddShowCommand(CLI::App& app, CommandBody& selected);
void AddConvertCommand(CLI::App& app, CommandBody& selected);
void AddTokenizeCommand(CLI::App& app, CommandBody& selected);
void AddCalibrateCommand(CLI::App& app, CommandBody& selected);
void AddPlanCommand(CLI::App& app, CommandBody& selected);
void AddCompileCommand(CLI::App& app, CommandBody& selected);
void AddVerifyCommand(CLI::App& app, CommandBody& selected);
void AddPerplexityCommand(CLI::App& app, CommandBody& selected);
void AddDumpCommand(CLI::App& app, CommandBody& selected);
void AddDoctorCommand(CLI::App& app, CommandBody& selected);
void AddProfileCommand(CLI::App& app, CommandBody& selected);
void AddBenchCommand(CLI::App& app, CommandBody& selected);
void AddNpuWorkerCommand(CLI::App& app, CommandBody& selected);
void AddVersionCommand(CLI::App& app, CommandBody& selected);

}  // namespace npumoe::cli
