// WorkerProcess: the child that a worker runs in: its start, what it says on stderr, its end.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

#include "base/status.h"
#include "npu/worker/file_descriptor.h"

namespace npumoe::worker {

inline constexpr const char* kWorkerCommand = "npu-worker";
inline constexpr int kWorkerSocket = 3;  // where a worker finds its connection

// How a process ended, in words: "signal 6 (Aborted)", "exit code 3".
struct ProcessEnd {
  std::string words;
  bool killed_from_outside = false;  // by SIGKILL, which no code in the process raises
};

class WorkerProcess {
 public:
  WorkerProcess() = default;
  // Runs `program npu-worker` in a process group of its own, so that Ctrl-C on the terminal is the
  // engine's alone. On Linux the child ends with the *thread* that calls this.
  static Result<WorkerProcess> Start(const std::filesystem::path& program);
  ~WorkerProcess() { Kill(); }
  WorkerProcess(WorkerProcess&& other) noexcept;
  WorkerProcess& operator=(WorkerProcess&& other) noexcept;

  bool running() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  // Once: the engine's end of the connection.
  FileDescriptor TakeSocket() { return std::move(socket_); }
  int log() const { return log_.get(); }  // non-blocking
  // What stands in the log now.
  std::string ReadLog();
  // Lets it end by itself for a while, where it is ending anyway.
  void AwaitEnd(int timeout_ms);
  // Ends it, if it has not ended, and collects it. Its log stays readable.
  ProcessEnd Kill();

 private:
  pid_t pid_ = -1;
  FileDescriptor socket_;
  FileDescriptor log_;
};

// The running program, where the system tells; empty where it does not.
std::filesystem::path ThisProgram();

}  // namespace npumoe::worker
