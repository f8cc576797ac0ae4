#include "calibrate/trace_file.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/hash.h"
#include "base/mapped_file.h"
#include "calibrate/base64.h"

namespace npumoe {
namespace {

constexpr std::string_view kHeader = "npumoe-routing-trace 1";
constexpr int64_t kMaxTokens = int64_t{1} << 32;  // chosen: keeps products far from overflow

std::string HashOf(std::string_view text) { return Hasher().Add(text).Hex(); }

template <class Wide, class T, class Convert>
std::string EncodeLittleEndian(std::span<const T> values, Convert convert) {
  std::vector<uint8_t> bytes;
  bytes.reserve(values.size() * sizeof(Wide));
  for (const T& value : values) {
    const Wide bits = convert(value);
    for (size_t i = 0; i < sizeof(Wide); ++i) bytes.push_back(static_cast<uint8_t>(bits >> 8 * i));
  }
  return EncodeBase64(bytes);
}

uint32_t BitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// Lines of "key value", read in order.
class LineReader {
 public:
  LineReader(std::string_view text, std::string name) : text_(text), name_(std::move(name)) {}

  bool AtEnd() const { return position_ == text_.size(); }
  size_t position() const { return position_; }
  bool NextIs(std::string_view key) const {
    const std::string_view rest = text_.substr(position_);
    return rest.size() > key.size() && rest.substr(0, key.size()) == key && rest[key.size()] == ' ';
  }
  Status Error(const std::string& what) const {
    return InvalidInput(fmt::format("{}: line {}: {}", name_, line_, what));
  }
  // The value of the next line, whose key must be `key`.
  Result<std::string_view> Value(std::string_view key) {
    ++line_;
    if (!NextIs(key)) return Error(fmt::format("expected '{} ...'; the trace is damaged", key));
    const size_t end = text_.find('\n', position_);
    if (end == std::string_view::npos) return Error("the file ends inside a line");
    const size_t begin = position_ + key.size() + 1;
    position_ = end + 1;
    return text_.substr(begin, end - begin);
  }
  Result<int64_t> Int(std::string_view key, int64_t min, int64_t max) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string_view value, Value(key));
    return ParseInt(key, value, min, max);
  }
  Result<int64_t> ParseInt(std::string_view key, std::string_view value, int64_t min,
                           int64_t max) const {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number < min ||
        number > max) {
      return Error(
          fmt::format("{} is '{}'; allowed are {} to {}", key, value.substr(0, 40), min, max));
    }
    return number;
  }

 private:
  std::string_view text_;
  std::string name_;
  size_t position_ = 0;
  int line_ = 0;
};

Status ReadStarts(LineReader& reader, int64_t tokens, RoutingTrace& trace) {
  NPUMOE_ASSIGN_OR_RETURN(std::string_view rest, reader.Value("sequence_starts"));
  while (!rest.empty()) {
    const size_t space = rest.find(' ');
    NPUMOE_ASSIGN_OR_RETURN(const int64_t start,
                            reader.ParseInt("sequence_starts", rest.substr(0, space), 0, tokens));
    trace.sequence_starts.push_back(start);
    rest = space == std::string_view::npos ? std::string_view() : rest.substr(space + 1);
  }
  return OkStatus();
}

// Base64 of `count` values of `width` bytes.
Result<std::vector<uint8_t>> ReadBytes(LineReader& reader, std::string_view key, int64_t count,
                                       int64_t width) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string_view text, reader.Value(key));
  auto bytes = DecodeBase64(text);
  if (!bytes.has_value()) return reader.Error(fmt::format("{} is not base64", key));
  if (static_cast<int64_t>(bytes->size()) != count * width) {
    return reader.Error(
        fmt::format("{} holds {} bytes; expected {}", key, bytes->size(), count * width));
  }
  return *std::move(bytes);
}

Result<LayerRouting> ReadLayer(LineReader& reader, int64_t count) {
  LayerRouting layer;
  NPUMOE_ASSIGN_OR_RETURN(const int64_t index, reader.Int("layer", 0, kMaxTraceExperts));
  layer.layer = static_cast<int>(index);
  NPUMOE_ASSIGN_OR_RETURN(const auto ids, ReadBytes(reader, "ids", count, 2));
  layer.ids.resize(ids.size() / 2);
  for (size_t i = 0; i < layer.ids.size(); ++i) layer.ids[i] = ids[2 * i] | ids[2 * i + 1] << 8;
  if (!reader.NextIs("weights")) return layer;
  NPUMOE_ASSIGN_OR_RETURN(const auto weights, ReadBytes(reader, "weights", count, 4));
  layer.weights.resize(weights.size() / 4);
  for (size_t i = 0; i < layer.weights.size(); ++i) {
    uint32_t bits = 0;
    for (size_t b = 0; b < 4; ++b) bits |= uint32_t{weights[4 * i + b]} << 8 * b;
    std::memcpy(&layer.weights[i], &bits, sizeof(bits));
    if (!std::isfinite(layer.weights[i])) return reader.Error("a weight is not finite");
  }
  return layer;
}

}  // namespace

std::string SerializeTrace(const RoutingTrace& trace) {
  NPUMOE_CHECK(ValidateTrace(trace).ok());
  std::string text =
      fmt::format("{}\nexperts {}\nexperts_per_token {}\ntokens {}\nsequence_starts {}\n", kHeader,
                  trace.num_experts, trace.experts_per_token, trace.tokens(),
                  fmt::join(trace.sequence_starts, " "));
  for (const LayerRouting& layer : trace.layers) {
    text += fmt::format("layer {}\nids {}\n", layer.layer,
                        EncodeLittleEndian<uint16_t>(std::span(layer.ids), [](int32_t id) {
                          return static_cast<uint16_t>(id);
                        }));
    if (!layer.weights.empty()) {
      text += fmt::format("weights {}\n",
                          EncodeLittleEndian<uint32_t>(std::span(layer.weights), BitsOf));
    }
  }
  return text + fmt::format("hash {}\n", HashOf(text));
}

Result<RoutingTrace> ParseTrace(std::string_view text, const std::string& name) {
  LineReader reader(text, name);
  NPUMOE_RETURN_IF_ERROR(reader.Int("npumoe-routing-trace", 1, 1).status());
  RoutingTrace trace;
  NPUMOE_ASSIGN_OR_RETURN(const int64_t experts, reader.Int("experts", 1, kMaxTraceExperts));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t k, reader.Int("experts_per_token", 1, experts));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t tokens, reader.Int("tokens", 0, kMaxTokens));
  trace.num_experts = static_cast<int>(experts);
  trace.experts_per_token = static_cast<int>(k);
  NPUMOE_RETURN_IF_ERROR(ReadStarts(reader, tokens, trace));
  while (reader.NextIs("layer")) {
    NPUMOE_ASSIGN_OR_RETURN(LayerRouting layer, ReadLayer(reader, tokens * k));
    trace.layers.push_back(std::move(layer));
  }
  const std::string actual = HashOf(text.substr(0, reader.position()));
  NPUMOE_ASSIGN_OR_RETURN(const std::string_view hash, reader.Value("hash"));
  if (hash != actual) return reader.Error("the hash does not fit the contents; record it again");
  if (!reader.AtEnd()) return reader.Error("found text after the hash");
  const Status valid = ValidateTrace(trace);
  if (!valid.ok()) return valid.WithContext(name);
  return trace;
}

Status WriteTraceFile(const std::filesystem::path& path, const RoutingTrace& trace) {
  NPUMOE_RETURN_IF_ERROR(ValidateTrace(trace));
  return WriteFileAtomically(path, SerializeTrace(trace));
}

Result<RoutingTrace> ReadTraceFile(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  const std::span<const std::byte> bytes = file->bytes();
  return ParseTrace({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

std::string TraceAsCsv(const RoutingTrace& trace) {
  std::string csv = "sequence,token,layer,slot,expert,weight\n";
  auto out = std::back_inserter(csv);
  const auto k = static_cast<size_t>(trace.experts_per_token);
  for (const LayerRouting& layer : trace.layers) {
    size_t sequence = 0;
    for (size_t i = 0; i < layer.ids.size(); ++i) {
      const size_t token = i / k;
      while (sequence + 1 < trace.sequence_starts.size() &&
             static_cast<int64_t>(token) >= trace.sequence_starts[sequence + 1]) {
        ++sequence;
      }
      out =
          fmt::format_to(out, "{},{},{},{},{},", sequence, token, layer.layer, i % k, layer.ids[i]);
      if (!layer.weights.empty()) out = fmt::format_to(out, "{}", layer.weights[i]);
      *out++ = '\n';
    }
  }
  return csv;
}

}  // namespace npumoe
