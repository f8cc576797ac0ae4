// Neither side trusts the other: nonsense ends a worker with an exit code, and the engine treats a
// worker that talks nonsense as one that crashed.
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <random>

#include "npu/worker/channel.h"
#include "npu/worker/worker_process.h"
#include "npu/worker/worker_service.h"
#include "npu/worker/worker_testing.h"

namespace npumoe::worker {
namespace {

// ---- The worker hears nonsense.

class HostileEngine : public WorkerTest {
 protected:
  // A conversation that works, as bytes: hello, configuration, a load and an unload.
  std::vector<std::byte> Conversation() const {
    std::vector<std::byte> bytes;
    const auto add = [&](const std::vector<std::byte>& frame) {
      bytes.insert(bytes.end(), frame.begin(), frame.end());
    };
    Hello hello;
    hello.engine_pid = getpid();
    add(Encode(hello));
    Configure configure;
    configure.device = "emulator";
    configure.profile_name = "m2-max";
    configure.profile_toml = emulator::TestProfile().toml;
    add(Encode(configure));
    add(Encode(Load{1, package_.string(), "main", {}}));
    add(Encode(Supports{2, package_.string(), "main"}));
    add(Encode(LaunchCall{3, 1, {{0, 0, 3072}}, {{0, 16384, 3072}}, {}, {}}));
    add(Encode(Unload{1}));
    return bytes;
  }
  // How a worker ends that hears this and then, when it has been quiet for a while, is hung up on.
  static std::string EndAfter(const std::vector<std::byte>& bytes, int quiet_ms = 60000) {
    auto process = WorkerProcess::Start(NPUMOE_WORKER_HOST);
    EXPECT_TRUE(process.ok()) << process.status().message();
    FileDescriptor socket = process->TakeSocket();
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t count =
          send(socket.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) break;  // it has ended already
      sent += static_cast<size_t>(count);
    }
    pollfd answer{socket.get(), POLLIN, 0};
    std::byte rest[4096];
    while (poll(&answer, 1, quiet_ms) > 0 && recv(socket.get(), rest, sizeof rest, 0) > 0) {
    }
    shutdown(socket.get(), SHUT_WR);
    const auto end = process->AwaitEnd(60000);
    return end ? end->words : "no end";
  }
  static constexpr int kQuietMs = 500;  // longer than a small package takes
};

TEST_F(HostileEngine, EndsAWorkerByHangingUp) { EXPECT_EQ(EndAfter({}, 0), "exit code 0"); }

TEST_F(HostileEngine, EndsAWorkerWithAnExitCodeWhenItSendsNoise) {
  std::mt19937 random(5);
  for (const size_t size : {1, 11, 12, 13, 100, 100000}) {
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    const bool whole = size >= kHeaderBytes;
    EXPECT_EQ(EndAfter(bytes, whole ? 60000 : kQuietMs), whole ? "exit code 3" : "exit code 0")
        << size;
  }
}

TEST_F(HostileEngine, CannotMakeAWorkerCrashByDamagingAConversation) {
  std::mt19937 random(6);
  const std::vector<std::byte> valid = Conversation();
  for (int round = 0; round < 60; ++round) {
    std::vector<std::byte> bytes = valid;
    for (int i = 0; i < 1 + round % 3; ++i) {
      // Half of the damages hit the short messages behind the profile's text.
      const size_t tail = bytes.size() - 300;
      const size_t at = round % 2 == 0 ? tail + random() % 300 : random() % bytes.size();
      bytes[at] = static_cast<std::byte>(random());
    }
    const std::string end = EndAfter(bytes, kQuietMs);
    EXPECT_TRUE(end == "exit code 0" || end == "exit code 3") << end << " in round " << round;
  }
}

TEST_F(HostileEngine, IsRefusedMessagesOutOfTurn) {
  Hello hello;
  hello.engine_pid = getpid();
  const std::vector<std::byte> greeting = Encode(hello);
  const auto after_greeting = [&](std::vector<std::byte> frame) {
    std::vector<std::byte> bytes = greeting;
    bytes.insert(bytes.end(), frame.begin(), frame.end());
    return EndAfter(bytes);
  };
  EXPECT_EQ(EndAfter(Encode(Unload{1})), "exit code 3");
  EXPECT_EQ(EndAfter(Encode(Configure{})), "exit code 3");
  EXPECT_EQ(after_greeting(Encode(Load{})), "exit code 3");
  EXPECT_EQ(after_greeting(Encode(Done{})), "exit code 3");
  EXPECT_EQ(after_greeting(Encode(MapSegment{0, 4096})), "exit code 3");  // without descriptor
  hello.version = kProtocolVersion + 1;
  EXPECT_EQ(EndAfter(Encode(hello)), "exit code 3");
  hello = Hello{};
  hello.engine_pid = 1;  // not its parent
  EXPECT_EQ(EndAfter(Encode(hello)), "exit code 3");
}

// ---- The engine hears nonsense.

class HostileWorker : public WorkerTest {
 protected:
  // A program that says `bytes` on its connection, whatever it hears, and stays.
  std::filesystem::path Babbler(const std::vector<std::byte>& bytes) {
    const std::filesystem::path said = folder_ / "said.bin", program = folder_ / "babbler.sh";
    std::ofstream(said, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    std::ofstream(program) << "#!/bin/sh\ncat '" << said.string() << "' >&3\nexec sleep 600 <&3\n";
    chmod(program.c_str(), 0700);
    return program;
  }
  Status Open(const std::vector<std::byte>& bytes) {
    WorkerDeviceOptions options = TestOptions();
    options.program = Babbler(bytes);
    options.start_deadline_ms = 20e3;
    return MakeWorkerDevice(emulator::TestProfile(), options).status();
  }
  static std::vector<std::byte> Joined(std::vector<std::vector<std::byte>> frames) {
    std::vector<std::byte> bytes;
    for (const auto& frame : frames) bytes.insert(bytes.end(), frame.begin(), frame.end());
    return bytes;
  }
};

// Had it been killed at once, the engine's own signal would look like one from outside, after which
// a worker is started again and again.
TEST_F(HostileWorker, ThatHangsUpBeforeItEndsHasAnEndOfItsOwn) {
  const std::filesystem::path program = folder_ / "leaver.sh";
  std::ofstream(program) << "#!/bin/sh\nexec 3>&-\nsleep 0.02\nexit 7\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  WorkerDeviceOptions options = TestOptions();
  options.program = program;
  const Status status = MakeWorkerDevice(emulator::TestProfile(), options).status();
  EXPECT_NE(status.message().find("ended with exit code 7 3 times"), std::string::npos)
      << status.message();
  EXPECT_TRUE(Children().empty());
}

TEST_F(HostileWorker, ThatHangsUpAndStaysIsEndedAndGivenUp) {
  const std::filesystem::path program = folder_ / "stayer.sh";
  std::ofstream(program) << "#!/bin/sh\nexec 3>&-\nexec sleep 600\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  WorkerDeviceOptions options = TestOptions();
  options.program = program;
  const Status status = MakeWorkerDevice(emulator::TestProfile(), options).status();
  EXPECT_NE(status.message().find("closed connection"), std::string::npos) << status.message();
  EXPECT_TRUE(Children().empty());
}

TEST_F(HostileWorker, ThatSaysNoiseIsNotTaken) {
  std::mt19937 random(8);
  for (int round = 0; round < 10; ++round) {
    std::vector<std::byte> bytes(1000);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    const Status status = Open(bytes);
    EXPECT_FALSE(status.ok());
    EXPECT_NE(status.message().find("does not begin as one"), std::string::npos)
        << status.message();
  }
  EXPECT_TRUE(Children().empty());
}

TEST_F(HostileWorker, OfAnotherVersionIsNotTaken) {
  EXPECT_NE(Open(Encode(HelloReply{kProtocolVersion + 1})).message().find("version"),
            std::string::npos);
}

TEST_F(HostileWorker, ThatAnswersUnaskedQuestionsIsRestartedAndThenGivenUp) {
  Configured configured;
  configured.name = "emulator";
  const auto greeting = Joined({Encode(HelloReply{}), Encode(configured)});
  std::vector<std::vector<std::byte>> lies;
  lies.push_back(Encode(Done{7, OkStatus(), {}}));
  lies.push_back(Encode(Loaded{}));
  lies.push_back(Encode(Supported{}));
  lies.push_back(Encode(HelloReply{}));
  for (const auto& lie : lies) {
    WorkerDeviceOptions options = TestOptions();
    options.program = Babbler(Joined({greeting, lie}));
    auto device = MakeWorkerDevice(emulator::TestProfile(), options);
    if (!device.ok()) continue;  // the lie came together with the greeting
    EXPECT_FALSE((*device)->Load(package_, "main").ok());
    EXPECT_GE((*device)->health().restarts, 1);
  }
  EXPECT_TRUE(Children().empty());
}

TEST_F(HostileWorker, ThatDamagesItsAnswersCannotCrashTheEngine) {
  Configured configured;
  configured.name = "emulator";
  Loaded loaded;
  loaded.program = 1;  // the first number that the engine gives
  loaded.inputs = loaded.outputs = {{"x", DType::kF16, {1, kHidden, 1, kRows}}};
  const auto valid = Joined({Encode(HelloReply{}), Encode(configured), Encode(loaded)});
  std::mt19937 random(9);
  for (int round = 0; round < 30; ++round) {
    std::vector<std::byte> bytes = valid;
    bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    WorkerDeviceOptions options = TestOptions();
    options.program = Babbler(bytes);
    options.start_deadline_ms = options.load_timeout_ms = 300;
    options.launch_deadline_ms = 100;
    auto device = MakeWorkerDevice(emulator::TestProfile(), options);
    if (!device.ok()) continue;
    auto program = (*device)->Load(package_, "main");
    EXPECT_TRUE(!program.ok() || (*program)->inputs().size() == 1u);
  }
  EXPECT_TRUE(Children().empty());
}

}  // namespace
}  // namespace npumoe::worker
