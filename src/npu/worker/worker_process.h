// WorkerProcess: the child that a worker runs in: its start, what it says on stderr, its end.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>

#include "base/status.h"
#include "npu/worker/file_descriptor.h"

namespace npumoe::worker {

inline constexpr const char* kWorkerCommand = "npu-worker";
inline constexpr int kWorkerSocket = 3;  // where a worker finds its connection

// How a process ended, in words: "signal 6 (Aborted)", "exit code 3".
struct ProcessEnd {
  std::string words;
  // By a SIGKILL that was not ours: no code in the process raises it.
  bool killed_from_outside = false;
};

class WorkerProcess {
 public:
  WorkerProcess() = default;
  // Runs `program npu-worker` in a process group of its own, so that Ctrl-C on the terminal is the
  // engine's alone. On Linux the child ends with the *thread* that calls this.
  static Result<WorkerProcess> Start(const std::filesystem::path& program);
  // Ends it and collects it; one that the system cannot end at once is left to it.
  ~WorkerProcess() { EndAndCollect(); }
  WorkerProcess(WorkerProcess&& other) noexcept;
  WorkerProcess& operator=(WorkerProcess&& other) noexcept;

  bool running() const { return pid_ > 0; }
  // Once: the engine's end of the connection.
  FileDescriptor TakeSocket() { return std::move(socket_); }
  int log() const { return log_.get(); }  // non-blocking
  // What stands in the log now.
  std::string ReadLog();
  // Sends SIGKILL. Whoever sleeps in a driver or is traced ends later, or never.
  void Kill();
  // How it ended, once it has: collects it, which is possible once. Its log stays readable.
  std::optional<ProcessEnd> Collect();
  // The same, waiting.
  std::optional<ProcessEnd> AwaitEnd(int timeout_ms);

 private:
  void EndAndCollect();

  pid_t pid_ = -1;
  bool killed_ = false;  // by us
  FileDescriptor socket_;
  FileDescriptor log_;
};

// The running program, where the system tells; empty where it does not.
std::filesystem::path ThisProgram();

}  // namespace npumoe::worker
