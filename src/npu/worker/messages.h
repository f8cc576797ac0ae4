// Messages between the engine and a worker process: a private protocol of one build, over a
// socketpair that the worker inherits. Neither side trusts the other: a worker may be broken by
// the vendor's code in it, and one that is confused must end, not do damage.
//
// Engine to worker                      worker to engine
//   Hello (version)                       HelloReply (version)
//   Configure (device, profile)           Configured
//   MapSegment (with a descriptor)
//   Load, Unload                          Loaded
//   Supports                              Supported
//   Launch                                Done
// Work is done and answered in the order in which it was asked for, one at a time.
//
// A message is a frame: magic, type, length, payload; whole numbers in the machine's order. Lists
// and texts carry their length in front. Reading checks every length against what is there, every
// enumeration and every shape, and that nothing is left over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/tensor_view.h"
#include "npu/device.h"
#include "npu/emulator/fault_script.h"

namespace npumoe::worker {

inline constexpr uint32_t kProtocolVersion = 1;  // raised whenever a message changes
inline constexpr uint32_t kMagic = 0x574d504e;   // "NPMW"
inline constexpr size_t kHeaderBytes = 12;
// Chosen: a profile has 6 kB, a launch of 128 experts 6 kB, a failing script 100 kB.
inline constexpr size_t kMaxPayloadBytes = size_t{4} << 20;

enum class MessageType : uint32_t {
  kHello = 1,
  kHelloReply,
  kConfigure,
  kConfigured,
  kMapSegment,
  kLoad,
  kLoaded,
  kUnload,
  kSupports,
  kSupported,
  kLaunch,
  kDone,
};
inline constexpr uint32_t kLastMessageType = static_cast<uint32_t>(MessageType::kDone);

struct Hello {
  static constexpr MessageType kType = MessageType::kHello;
  uint32_t version = kProtocolVersion;
  int64_t engine_pid = 0;  // whose end is the worker's end
};

struct HelloReply {
  static constexpr MessageType kType = MessageType::kHelloReply;
  uint32_t version = kProtocolVersion;
};

struct Configure {
  static constexpr MessageType kType = MessageType::kConfigure;
  std::string device;
  std::string profile_name;
  std::string profile_toml;
  std::string cache_dir;
  int64_t threads = 1;
};

struct Configured {
  static constexpr MessageType kType = MessageType::kConfigured;
  Status status;
  std::string name, description, version;  // DeviceInfo
};

struct MapSegment {
  static constexpr MessageType kType = MessageType::kMapSegment;
  int64_t segment = 0;
  int64_t bytes = 0;
};

struct Load {
  static constexpr MessageType kType = MessageType::kLoad;
  int64_t program = 0;
  std::string package, function;
  std::vector<emulator::FaultEffect> faults;
};

struct Loaded {
  static constexpr MessageType kType = MessageType::kLoaded;
  int64_t program = 0;
  Status status;
  std::vector<TensorSpec> inputs, outputs;
  int64_t weight_bytes = 0;
  LaunchReport load_report;
  std::optional<ComputePlan> compute_plan;
};

struct Unload {
  static constexpr MessageType kType = MessageType::kUnload;
  int64_t program = 0;
};

struct Supports {
  static constexpr MessageType kType = MessageType::kSupports;
  int64_t query = 0;
  std::string package, function;
};

struct Supported {
  static constexpr MessageType kType = MessageType::kSupported;
  int64_t query = 0;
  Status status;
};

struct BufferPlace {
  int64_t segment = 0;
  int64_t offset = 0;
  int64_t bytes = 0;
};

struct LaunchCall {
  static constexpr MessageType kType = MessageType::kLaunch;
  int64_t request = 0;
  int64_t program = 0;
  std::vector<BufferPlace> inputs, outputs;
  std::vector<int32_t> rows;
  std::vector<emulator::FaultEffect> faults;
};

struct Done {
  static constexpr MessageType kType = MessageType::kDone;
  int64_t request = 0;
  Status status;
  LaunchReport report;
};

// A whole frame.
template <class Message>
std::vector<std::byte> Encode(const Message& message);
// kInvalidInput says what is wrong with the payload.
template <class Message>
Result<Message> Decode(std::span<const std::byte> payload);

struct FrameHeader {
  MessageType type = MessageType::kHello;
  size_t payload_bytes = 0;
};
Result<FrameHeader> DecodeHeader(std::span<const std::byte, kHeaderBytes> bytes);

}  // namespace npumoe::worker
