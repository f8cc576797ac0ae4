// What the tests of this room start as a worker: `npumoe npu-worker` without the command line. With
// a folder as second argument the first process of that folder cannot be killed: see below.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string_view>

#ifdef __linux__
#include <fcntl.h>
#include <sys/ptrace.h>
#include <unistd.h>
#endif

#include "npu/worker/worker_process.h"
#include "npu/worker/worker_service.h"

namespace {

namespace fs = std::filesystem;

#ifdef __linux__
// A process that another one traces ends for its parent only when that one lets it go, just as one
// that sleeps in a driver ends when it wakes up.
[[noreturn]] void Trace(pid_t process, int answer, const fs::path& folder) {
  const char traced = ptrace(PTRACE_SEIZE, process, nullptr, nullptr) == 0 ? 1 : 0;
  const bool told = write(answer, &traced, 1) == 1;
  for (int fd = 0; fd <= answer; ++fd) close(fd);  // the engine sees the worker hang up
  constexpr int kLongestTicks = 2000;              // of 10 ms
  for (int i = 0; told && traced == 1 && i < kLongestTicks && !fs::exists(folder / "release");
       ++i) {
    usleep(10'000);
  }
  _exit(0);
}

bool BecomeUnkillable(const fs::path& folder) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  const pid_t process = getpid(), child = fork();
  if (child == 0) Trace(process, ends[1], folder);
  close(ends[1]);
  char traced = 0;
  const bool answered = child > 0 && read(ends[0], &traced, 1) == 1;
  close(ends[0]);
  return answered && traced == 1;
}
#else
bool BecomeUnkillable(const fs::path&) { return false; }
#endif

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) != npumoe::worker::kWorkerCommand) return 2;
  if (argc == 3 && fs::create_directory(fs::path(argv[2]) / "first") &&
      !BecomeUnkillable(argv[2])) {
    std::ofstream(fs::path(argv[2]) / "killable") << "";
  }
  const npumoe::Status status = npumoe::worker::RunWorkerProcess();
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}
