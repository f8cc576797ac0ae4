#include "npu/worker/worker_service.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "npu/worker/channel.h"
#include "npu/worker/hosted_programs.h"
#include "npu/worker/message_queue.h"
#include "npu/worker/worker_process.h"

namespace npumoe::worker {
namespace {

[[noreturn]] void EndWith(const Status& status) {
  fmt::print(stderr, "the worker ends: {}\n", status.message());
  std::fflush(stderr);
  _exit(kExitProtocol);
}

// A program that was started by hand has no connection.
Status CheckConnection() {
  int type = 0, listens = 0;
  socklen_t size = sizeof type;
  sockaddr address = {};
  socklen_t address_size = sizeof address;
  const bool is_connection =
      getsockopt(kWorkerSocket, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
      getsockopt(kWorkerSocket, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens == 0 &&
      getpeername(kWorkerSocket, &address, &address_size) == 0 && address.sa_family == AF_UNIX;
  if (is_connection) return OkStatus();
  return UsageError(
      fmt::format("{} is started by npumoe itself, for --npu-workers; it does nothing by hand",
                  kWorkerCommand));
}

// Files that the engine had open without the close-on-exec flag are not the worker's.
void CloseOtherDescriptors() {
  std::vector<int> open;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/fd", error)) {
    const int fd = std::atoi(entry.path().filename().c_str());
    if (fd > kWorkerSocket) open.push_back(fd);
  }
  for (const int fd : open) close(fd);  // the folder's own is among them: closed already
}

void EndWithEngine() {
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
}

class Service {
 public:
  explicit Service(WorkerChannel& channel) : channel_(channel) {}

  void Handle(WorkerChannel::Received received) {
    const Frame& frame = received.frame;
    switch (frame.type) {
      case MessageType::kHello:
        return Greet(Read<Hello>(frame));
      case MessageType::kConfigure:
        return Open(Read<Configure>(frame));
      case MessageType::kMapSegment:
        return Require(Hosted().Map(Read<MapSegment>(frame), received.descriptor));
      case MessageType::kLoad:
        return Answer(Hosted().Load(Read<Load>(frame)));
      case MessageType::kUnload:
        return Require(Hosted().Unload(Read<Unload>(frame)));
      case MessageType::kSupports: {
        const auto question = Read<Supports>(frame);
        return Send(Supported{question.query, Hosted().Supports(question)});
      }
      case MessageType::kLaunch:
        return Answer(Hosted().Launch(Read<LaunchCall>(frame)));
      default:
        EndWith(InvalidInput(fmt::format("a message of type {} is none for a worker",
                                         static_cast<uint32_t>(frame.type))));
    }
  }

 private:
  template <class Message>
  static Message Read(const Frame& frame) {
    auto message = Decode<Message>(frame.payload);
    if (!message.ok()) EndWith(message.status());
    return *std::move(message);
  }
  template <class Message>
  void Send(const Message& message) {
    Require(channel_.Send(Encode(message)));
  }
  template <class Message>
  void Answer(const Result<Message>& message) {
    Require(message.status());
    Send(*message);
  }
  static void Require(const Status& status) {
    if (!status.ok()) EndWith(status);
  }

  void Greet(const Hello& hello) {
    Send(HelloReply{});
    if (hello.version != kProtocolVersion) {
      EndWith(
          Unsupported(fmt::format("the engine speaks version {} of the protocol, this worker {}",
                                  hello.version, kProtocolVersion)));
    }
    // It may have ended before EndWithEngine.
    if (hello.engine_pid != getppid()) EndWith(InvalidInput("the engine is not this one's parent"));
    greeted_ = true;
  }
  void Open(const Configure& configure) {
    if (!greeted_ || hosted_ != nullptr) EndWith(InvalidInput("Configure came out of turn"));
    auto hosted = HostedPrograms::Open(configure);
    Configured configured;
    configured.status = hosted.status();
    if (hosted.ok()) {
      hosted_ = *std::move(hosted);
      const DeviceInfo info = hosted_->info();
      configured.name = info.name;
      configured.description = info.description;
      configured.version = info.version;
    }
    Send(configured);
  }
  HostedPrograms& Hosted() {
    if (hosted_ == nullptr) EndWith(InvalidInput("a message came before Configure"));
    return *hosted_;
  }

  WorkerChannel& channel_;
  bool greeted_ = false;
  std::unique_ptr<HostedPrograms> hosted_;
};

}  // namespace

Status RunWorkerProcess() {
  NPUMOE_RETURN_IF_ERROR(CheckConnection());
  EndWithEngine();
  CloseOtherDescriptors();
  std::signal(SIGPIPE, SIG_IGN);
  WorkerChannel channel(kWorkerSocket);
  // The end of the engine must end this process in the middle of a launch, too.
  MessageQueue queue;
  std::thread reader([&] {
    while (true) {
      auto received = channel.Receive();
      if (!received.ok()) EndWith(received.status());
      if (!received->has_value()) _exit(0);
      queue.Push(**std::move(received));
    }
  });
  Service service(channel);
  while (true) service.Handle(queue.Pop());
}

}  // namespace npumoe::worker
