#include "npu/worker/channel.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace npumoe::worker {
namespace {

#ifdef MSG_NOSIGNAL
constexpr int kSendFlags = MSG_NOSIGNAL;  // a worker that died must not end us by SIGPIPE
#else
constexpr int kSendFlags = 0;
#endif
constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kMaxWaitingDescriptors = 64;  // chosen: the engine sends one per segment

Status Failure(const char* what) {
  return IoError(
      fmt::format("the connection between engine and worker: {}: {}", what, std::strerror(errno)));
}

void QuietPipe([[maybe_unused]] int socket) {
#ifdef SO_NOSIGPIPE
  const int on = 1;
  setsockopt(socket, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
}

// sendmsg with at most one descriptor.
ssize_t SendBytes(int socket, std::span<const std::byte> bytes, int descriptor) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
  if (descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  }
  return sendmsg(socket, &message, kSendFlags);
}

}  // namespace

Result<std::optional<Frame>> FrameParser::Next() {
  if (buffer_.size() < kHeaderBytes) return std::optional<Frame>();
  NPUMOE_ASSIGN_OR_RETURN(
      const FrameHeader header,
      DecodeHeader(std::span<const std::byte, kHeaderBytes>(buffer_.data(), kHeaderBytes)));
  const size_t size = kHeaderBytes + header.payload_bytes;
  if (buffer_.size() < size) return std::optional<Frame>();
  const auto begin = buffer_.begin();
  Frame frame{header.type, {begin + kHeaderBytes, begin + static_cast<ptrdiff_t>(size)}};
  buffer_.erase(begin, begin + static_cast<ptrdiff_t>(size));
  return std::optional<Frame>(std::move(frame));
}

EngineChannel::EngineChannel(FileDescriptor socket) : socket_(std::move(socket)) {
  fcntl(fd(), F_SETFL, fcntl(fd(), F_GETFL) | O_NONBLOCK);
  QuietPipe(fd());
}

void EngineChannel::Queue(std::vector<std::byte> frame, int descriptor) {
  outbox_.push_back({std::move(frame), 0, descriptor});
}

Status EngineChannel::Flush() {
  while (!outbox_.empty()) {
    Outgoing& front = outbox_.front();
    const std::span<const std::byte> rest(front.bytes.data() + front.written,
                                          front.bytes.size() - front.written);
    const ssize_t written = SendBytes(fd(), rest, front.descriptor);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return OkStatus();
    if (written < 0) return Failure("writing");
    front.descriptor = -1;  // it went with the first byte
    front.written += static_cast<size_t>(written);
    if (front.written == front.bytes.size()) outbox_.pop_front();
  }
  return OkStatus();
}

Result<EngineChannel::Readable> EngineChannel::Read() {
  std::array<std::byte, kReadBytes> bytes;
  while (true) {
    // Without room for them, descriptors that a worker sends are closed by the kernel.
    const ssize_t count = recv(fd(), bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Readable::kYes;
    if (count < 0 && errno == ECONNRESET) return Readable::kEnded;
    if (count < 0) return Failure("reading");
    if (count == 0) return Readable::kEnded;
    parser_.Add(std::span(bytes).first(static_cast<size_t>(count)));
    // The rest waits for the next round, so that one worker cannot fill our memory.
    if (static_cast<size_t>(count) == bytes.size()) return Readable::kYes;
  }
}

Result<std::optional<WorkerChannel::Received>> WorkerChannel::Receive() {
  while (true) {
    NPUMOE_ASSIGN_OR_RETURN(std::optional<Frame> frame, parser_.Next());
    if (frame) {
      Received received{*std::move(frame), {}};
      if (received.frame.type != MessageType::kMapSegment) {
        return std::optional<Received>(std::move(received));
      }
      if (descriptors_.empty()) return InvalidInput("a segment came without its descriptor");
      received.descriptor = std::move(descriptors_.front());
      descriptors_.pop_front();
      return std::optional<Received>(std::move(received));
    }
    std::array<std::byte, kReadBytes> bytes;
    iovec part{bytes.data(), bytes.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 4)> control = {};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t count = recvmsg(socket_, &message, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failure("reading");
    for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
      if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
      for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= h->cmsg_len; at += sizeof(int)) {
        int descriptor = -1;
        std::memcpy(&descriptor, CMSG_DATA(h) + at, sizeof(int));
        descriptors_.emplace_back(descriptor);
      }
    }
    if (count == 0) return std::optional<Received>();
    if (descriptors_.size() > kMaxWaitingDescriptors) {
      return InvalidInput("more descriptors than segments came");
    }
    parser_.Add(std::span(bytes).first(static_cast<size_t>(count)));
  }
}

Status WorkerChannel::Send(std::span<const std::byte> frame) const {
  while (!frame.empty()) {
    const ssize_t written = SendBytes(socket_, frame, -1);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failure("writing");
    frame = frame.subspan(static_cast<size_t>(written));
  }
  return OkStatus();
}

}  // namespace npumoe::worker
