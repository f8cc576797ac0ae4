// npumoe npu-worker: what --npu-workers starts. Hidden: nobody types it.
#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "npu/worker/worker_process.h"
#include "npu/worker/worker_service.h"

namespace npumoe::cli {

void AddNpuWorkerCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command =
      app.add_subcommand(worker::kWorkerCommand, "Holds programs of a device for another npumoe");
  command->group("");
  command->callback([&selected] { selected = [] { return worker::RunWorkerProcess(); }; });
}

}  // namespace npumoe::cli
