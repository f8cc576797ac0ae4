// Channel: frames over a stream socket, with descriptors passed along. Engine side: without
// blocking, accepting no descriptors. Worker side: blocking.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "npu/worker/file_descriptor.h"
#include "npu/worker/messages.h"

namespace npumoe::worker {

struct Frame {
  MessageType type = MessageType::kHello;
  std::vector<std::byte> payload;
};

// Cuts what arrives into frames.
class FrameParser {
 public:
  void Add(std::span<const std::byte> bytes) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }
  // None: not yet whole. An error is for good: the stream is out of step.
  Result<std::optional<Frame>> Next();

 private:
  std::vector<std::byte> buffer_;
};

// The engine's end.
class EngineChannel {
 public:
  EngineChannel() = default;
  explicit EngineChannel(FileDescriptor socket);

  int fd() const { return socket_.get(); }
  bool wants_to_write() const { return !outbox_.empty(); }
  // `descriptor` goes along where it is not negative; it must stay open until the frame is written.
  void Queue(std::vector<std::byte> frame, int descriptor = -1);
  // Writes what fits. An error: the worker is gone.
  Status Flush();
  enum class Readable { kYes, kEnded };
  // Reads what is there.
  Result<Readable> Read();
  Result<std::optional<Frame>> Next() { return parser_.Next(); }
  void Close() { socket_.Close(); }

 private:
  struct Outgoing {
    std::vector<std::byte> bytes;
    size_t written = 0;
    int descriptor = -1;
  };
  FileDescriptor socket_;
  std::deque<Outgoing> outbox_;
  FrameParser parser_;
};

// The worker's end.
class WorkerChannel {
 public:
  explicit WorkerChannel(int socket) : socket_(socket) {}

  struct Received {
    Frame frame;
    FileDescriptor descriptor;  // only where the frame is a MapSegment
  };
  // Blocks. None: the engine has closed its end.
  Result<std::optional<Received>> Receive();
  Status Send(std::span<const std::byte> frame) const;

 private:
  int socket_;
  FrameParser parser_;
  std::deque<FileDescriptor> descriptors_;  // that arrived, in order
};

}  // namespace npumoe::worker
