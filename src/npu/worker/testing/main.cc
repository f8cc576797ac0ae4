// What the tests of this room start as a worker: `npumoe npu-worker` without the command line.
#include <cstdio>
#include <string_view>

#include "npu/worker/worker_process.h"
#include "npu/worker/worker_service.h"

int main(int argc, char** argv) {
  if (argc != 2 || std::string_view(argv[1]) != npumoe::worker::kWorkerCommand) return 2;
  const npumoe::Status status = npumoe::worker::RunWorkerProcess();
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}
