#include "npu/worker/messages.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace npumoe::worker {
namespace {

constexpr size_t kMaxListEntries = 1 << 16;            // chosen: programs have hundreds of tensors
constexpr int64_t kMaxTensorBytes = int64_t{1} << 40;  // chosen: beyond any memory

class Writer {
 public:
  static constexpr bool kReads = false;
  template <class T>
  void Plain(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    out.insert(out.end(), bytes, bytes + sizeof(T));
  }
  void Text(std::string& value) {
    Length(value.size());
    const auto* bytes = reinterpret_cast<const std::byte*>(value.data());
    out.insert(out.end(), bytes, bytes + value.size());
  }
  size_t Length(size_t length) {
    auto narrow = static_cast<uint32_t>(length);
    Plain(narrow);
    return length;
  }
  void Fail(const char*) {}

  std::vector<std::byte> out;
};

class Reader {
 public:
  static constexpr bool kReads = true;
  explicit Reader(std::span<const std::byte> in) : rest(in) {}
  template <class T>
  void Plain(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    value = T{};
    if (rest.size() < sizeof(T)) return Fail("ends early");
    std::memcpy(&value, rest.data(), sizeof(T));
    rest = rest.subspan(sizeof(T));
  }
  void Text(std::string& value) {
    uint32_t length = 0;
    Plain(length);
    value.clear();
    if (length > rest.size()) return Fail("has a text beyond its end");
    value.assign(reinterpret_cast<const char*>(rest.data()), length);
    rest = rest.subspan(length);
  }
  size_t Length(size_t) {
    uint32_t length = 0;
    Plain(length);
    if (length <= kMaxListEntries && length <= rest.size()) return length;
    Fail("has a list beyond its end");
    return 0;
  }
  void Fail(const char* reason) {
    if (what == nullptr) what = reason;
    rest = {};
  }

  std::span<const std::byte> rest;
  const char* what = nullptr;  // the first thing that was wrong
};

// One function per type writes and reads it, so that the two cannot differ.
template <class A>
void Field(A& a, uint32_t& v) {
  a.Plain(v);
}
template <class A>
void Field(A& a, int32_t& v) {
  a.Plain(v);
}
template <class A>
void Field(A& a, int64_t& v) {
  a.Plain(v);
}
template <class A>
void Field(A& a, uint64_t& v) {
  a.Plain(v);
}
template <class A>
void Field(A& a, double& v) {
  a.Plain(v);
}
template <class A>
void Field(A& a, bool& v) {
  uint8_t byte = v ? 1 : 0;
  a.Plain(byte);
  if (byte > 1) a.Fail("has a flag that is neither 0 nor 1");
  v = byte == 1;
}
template <class A>
void Field(A& a, std::string& v) {
  a.Text(v);
}
template <class A, class E>
void EnumField(A& a, E& v, E last) {
  auto byte = static_cast<uint8_t>(v);
  a.Plain(byte);
  if (byte > static_cast<uint8_t>(last)) {
    a.Fail("has an enumeration out of range");
    byte = 0;
  }
  v = static_cast<E>(byte);
}

template <class A>
void Field(A& a, Status& v) {
  StatusCode code = v.code();
  std::string message = v.message();
  EnumField(a, code, StatusCode::kCancelled);
  Field(a, message);
  if constexpr (A::kReads) v = code == StatusCode::kOk ? Status() : Status(code, message);
}

template <class A>
void Field(A& a, Shape& v) {
  auto rank = static_cast<uint32_t>(v.rank());
  std::vector<int64_t> axes(v.axes().begin(), v.axes().end());
  Field(a, rank);
  if (rank > Shape::kMaxRank) return a.Fail("has a shape of too many axes");
  axes.resize(rank);
  int64_t elements = 1;
  for (int64_t& axis : axes) {
    Field(a, axis);
    if (axis < 0 || axis > kMaxTensorBytes || (axis > 0 && elements > kMaxTensorBytes / axis)) {
      return a.Fail("has an axis out of range");
    }
    elements *= axis;
  }
  if constexpr (A::kReads) v = Shape(std::span<const int64_t>(axes));
}

template <class A>
void Field(A& a, TensorSpec& v) {
  Field(a, v.name);
  EnumField(a, v.dtype, DType::kBool);  // plain types only
  Field(a, v.shape);
}

template <class A>
void Field(A& a, LaunchReport& v) {
  Field(a, v.time_ms);
  Field(a, v.energy_j);
  Field(a, v.modelled);
  if (!(std::isfinite(v.time_ms) && v.time_ms >= 0 && std::isfinite(v.energy_j))) {
    a.Fail("has a time or energy that is none");
  }
}

template <class A>
void Field(A& a, ComputePlan& v) {
  Field(a, v.operations);
  Field(a, v.on_device);
  Field(a, v.elsewhere);
}

template <class A>
void Field(A& a, emulator::FaultEffect& v) {
  EnumField(a, v.kind, emulator::FaultKind::kLost);
  for (double* number : {&v.modelled_ms, &v.sleep_ms, &v.factor, &v.rows, &v.gain}) {
    Field(a, *number);
    if (!(std::isfinite(*number) && *number >= 0)) a.Fail("has a fault out of range");
  }
  Field(a, v.seed);
  Field(a, v.holds_device);
}

template <class A>
void Field(A& a, BufferPlace& v) {
  Field(a, v.segment);
  Field(a, v.offset);
  Field(a, v.bytes);
}

template <class A, class T>
void Field(A& a, std::vector<T>& v) {
  const size_t length = a.Length(v.size());
  if constexpr (A::kReads) v.assign(length, T());
  for (T& entry : v) Field(a, entry);
}

template <class A, class T>
void Field(A& a, std::optional<T>& v) {
  bool has = v.has_value();
  Field(a, has);
  if (A::kReads && has) v.emplace();
  if (has) Field(a, *v);
}

template <class A, class... T>
void Fields(A& a, T&... fields) {
  (Field(a, fields), ...);
}

template <class A>
void All(A& a, Hello& m) {
  Fields(a, m.version, m.engine_pid);
}
template <class A>
void All(A& a, HelloReply& m) {
  Fields(a, m.version);
}
template <class A>
void All(A& a, Configure& m) {
  Fields(a, m.device, m.profile_name, m.profile_toml, m.cache_dir, m.threads);
}
template <class A>
void All(A& a, Configured& m) {
  Fields(a, m.status, m.name, m.description, m.version);
}
template <class A>
void All(A& a, MapSegment& m) {
  Fields(a, m.segment, m.bytes);
}
template <class A>
void All(A& a, Load& m) {
  Fields(a, m.program, m.package, m.function, m.faults);
}
template <class A>
void All(A& a, Loaded& m) {
  Fields(a, m.program, m.status, m.inputs, m.outputs, m.weight_bytes, m.load_report,
         m.compute_plan);
}
template <class A>
void All(A& a, Unload& m) {
  Fields(a, m.program);
}
template <class A>
void All(A& a, Supports& m) {
  Fields(a, m.query, m.package, m.function);
}
template <class A>
void All(A& a, Supported& m) {
  Fields(a, m.query, m.status);
}
template <class A>
void All(A& a, LaunchCall& m) {
  Fields(a, m.request, m.program, m.inputs, m.outputs, m.rows, m.faults);
}
template <class A>
void All(A& a, Done& m) {
  Fields(a, m.request, m.status, m.report);
}

}  // namespace

template <class Message>
std::vector<std::byte> Encode(const Message& message) {
  Writer writer;
  writer.out.resize(kHeaderBytes);
  Message copy = message;
  All(writer, copy);
  const size_t payload = writer.out.size() - kHeaderBytes;
  const uint32_t header[3] = {kMagic, static_cast<uint32_t>(Message::kType),
                              static_cast<uint32_t>(payload)};
  std::memcpy(writer.out.data(), header, kHeaderBytes);
  return std::move(writer.out);
}

template <class Message>
Result<Message> Decode(std::span<const std::byte> payload) {
  Reader reader(payload);
  Message message;
  All(reader, message);
  if (reader.what == nullptr && !reader.rest.empty()) reader.what = "goes on behind its end";
  if (reader.what == nullptr) return message;
  return InvalidInput(
      fmt::format("a message of type {} {}", static_cast<uint32_t>(Message::kType), reader.what));
}

Result<FrameHeader> DecodeHeader(std::span<const std::byte, kHeaderBytes> bytes) {
  uint32_t header[3];
  std::memcpy(header, bytes.data(), kHeaderBytes);
  if (header[0] != kMagic) return InvalidInput("a message does not begin as one");
  if (header[1] < 1 || header[1] > kLastMessageType) {
    return InvalidInput(fmt::format("a message is of the unknown type {}", header[1]));
  }
  if (header[2] > kMaxPayloadBytes) {
    return InvalidInput(
        fmt::format("a message has {} bytes; at most {} are allowed", header[2], kMaxPayloadBytes));
  }
  return FrameHeader{static_cast<MessageType>(header[1]), header[2]};
}

#define NPUMOE_MESSAGE(Message)                           \
  template std::vector<std::byte> Encode(const Message&); \
  template Result<Message> Decode(std::span<const std::byte>);
NPUMOE_MESSAGE(Hello)
NPUMOE_MESSAGE(HelloReply)
NPUMOE_MESSAGE(Configure)
NPUMOE_MESSAGE(Configured)
NPUMOE_MESSAGE(MapSegment)
NPUMOE_MESSAGE(Load)
NPUMOE_MESSAGE(Loaded)
NPUMOE_MESSAGE(Unload)
NPUMOE_MESSAGE(Supports)
NPUMOE_MESSAGE(Supported)
NPUMOE_MESSAGE(LaunchCall)
NPUMOE_MESSAGE(Done)
#undef NPUMOE_MESSAGE

}  // namespace npumoe::worker
