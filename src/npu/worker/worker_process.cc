#include "npu/worker/worker_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>

#include "base/clock.h"

extern char** environ;

namespace npumoe::worker {
namespace {

constexpr int kFirstFree = kWorkerSocket + 1;  // descriptors that dup2 in the child cannot hit
constexpr size_t kMaxLogBytes = 64 << 10;      // of one look
constexpr int kCollectMs = 1000;  // chosen: a process that SIGKILL ends does so in far less

Status Failure(const char* what, int error) {
  return IoError(fmt::format("starting a worker: {}: {}", what, std::strerror(error)));
}

// Above those that the child rearranges, closed by exec.
FileDescriptor MovedUp(int fd) {
  const FileDescriptor low(fd);
  return FileDescriptor(fcntl(low.get(), F_DUPFD_CLOEXEC, kFirstFree));
}

struct Ends {
  FileDescriptor engine, worker;
};

enum class Connection { kSocket, kPipe };  // of a pipe, the worker has the end that writes

Result<Ends> MakeEnds(Connection kind) {
  std::array<int, 2> fds = {-1, -1};
  const int made = kind == Connection::kPipe ? pipe(fds.data())
                                             : socketpair(AF_UNIX, SOCK_STREAM, 0, fds.data());
  if (made != 0) return Failure("connecting", errno);
  Ends ends{MovedUp(fds[0]), MovedUp(fds[1])};
  if (!ends.engine.valid() || !ends.worker.valid()) return Failure("descriptors", errno);
  return ends;
}

// File actions and attributes of posix_spawn.
class SpawnPlan {
 public:
  SpawnPlan(int socket, int log) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    // What a vendor's library prints must not get into the engine's answer.
    posix_spawn_file_actions_adddup2(&actions_, log, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, log, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, socket, kWorkerSocket);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  int Start(const std::filesystem::path& program, pid_t& pid) {
    std::string name = "npumoe", command = kWorkerCommand;
    std::array<char*, 3> arguments = {name.data(), command.data(), nullptr};
    return posix_spawn(&pid, program.c_str(), &actions_, &attributes_, arguments.data(), environ);
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

enum class Killed { kByUs, kNotByUs };

ProcessEnd Describe(int status, Killed killed) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && killed == Killed::kByUs) {
    return {"a closed connection, and was killed", false};
  }
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    return {fmt::format("signal {} ({})", signal, strsignal(signal)), signal == SIGKILL};
  }
  return {fmt::format("exit code {}", WEXITSTATUS(status)), false};
}

}  // namespace

Result<WorkerProcess> WorkerProcess::Start(const std::filesystem::path& program) {
  NPUMOE_ASSIGN_OR_RETURN(Ends socket, MakeEnds(Connection::kSocket));
  NPUMOE_ASSIGN_OR_RETURN(Ends log, MakeEnds(Connection::kPipe));
  WorkerProcess process;
  SpawnPlan plan(socket.worker.get(), log.worker.get());
  const int error = plan.Start(program, process.pid_);
  if (error != 0) {
    process.pid_ = -1;
    return Failure(program.c_str(), error);
  }
  process.socket_ = std::move(socket.engine);
  process.log_ = std::move(log.engine);
  fcntl(process.log(), F_SETFL, fcntl(process.log(), F_GETFL) | O_NONBLOCK);
  return process;
}

WorkerProcess::WorkerProcess(WorkerProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      killed_(std::exchange(other.killed_, false)),
      socket_(std::move(other.socket_)),
      log_(std::move(other.log_)) {}

WorkerProcess& WorkerProcess::operator=(WorkerProcess&& other) noexcept {
  if (this != &other) {
    EndAndCollect();
    pid_ = std::exchange(other.pid_, -1);
    killed_ = std::exchange(other.killed_, false);
    socket_ = std::move(other.socket_);
    log_ = std::move(other.log_);
  }
  return *this;
}

std::string WorkerProcess::ReadLog() {
  std::string text;
  std::array<char, 4096> bytes;
  while (log_.valid() && text.size() < kMaxLogBytes) {
    const ssize_t count = read(log(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) log_.Close();
    if (count <= 0) break;
    text.append(bytes.data(), static_cast<size_t>(count));
  }
  return text;
}

void WorkerProcess::Kill() {
  // A child that ended by itself is a zombie: the signal does nothing, and its own end is told.
  if (!running()) return;
  kill(pid_, SIGKILL);
  killed_ = true;
}

std::optional<ProcessEnd> WorkerProcess::Collect() {
  if (!running()) return std::nullopt;
  int status = 0;
  const pid_t ended = waitpid(pid_, &status, WNOHANG);
  if (ended == 0 || (ended < 0 && errno == EINTR)) return std::nullopt;
  pid_ = -1;
  // Somebody else in this process collects children, or they are ignored.
  if (ended < 0) return ProcessEnd{"an end that the system does not tell", false};
  return Describe(status, killed_ ? Killed::kByUs : Killed::kNotByUs);
}

std::optional<ProcessEnd> WorkerProcess::AwaitEnd(int timeout_ms) {
  Stopwatch watch;
  while (running()) {
    if (auto end = Collect()) return end;
    if (watch.ElapsedMs() >= timeout_ms) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return std::nullopt;
}

void WorkerProcess::EndAndCollect() {
  Kill();
  AwaitEnd(kCollectMs);
  pid_ = -1;
}

std::filesystem::path ThisProgram() {
#ifdef __linux__
  return "/proc/self/exe";
#else
  return {};
#endif
}

}  // namespace npumoe::worker
