#include "calibrate/esft_trace.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/mapped_file.h"

namespace npumoe {
namespace {

constexpr std::string_view kPrefix = "expert_weights_";
constexpr std::string_view kSuffix = ".txt";

// Layer number -> file, ascending.
Result<std::map<int, std::filesystem::path>> FindLayerFiles(const std::filesystem::path& folder) {
  std::map<int, std::filesystem::path> files;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.size() <= kPrefix.size() + kSuffix.size() || !name.starts_with(kPrefix) ||
        !name.ends_with(kSuffix)) {
      continue;
    }
    int layer = 0;
    const char* last = name.data() + name.size() - kSuffix.size();
    const auto parsed = std::from_chars(name.data() + kPrefix.size(), last, layer);
    if (parsed.ec != std::errc() || parsed.ptr != last || layer < 0) continue;
    files[layer] = it->path();
  }
  if (error) return IoError(fmt::format("{}: {}", folder.string(), error.message()));
  if (files.empty()) {
    return NotFound(fmt::format("{}: no file {}L{}", folder.string(), kPrefix, kSuffix));
  }
  return files;
}

std::vector<std::string_view> SplitAt(std::string_view text, char separator) {
  std::vector<std::string_view> fields;
  while (true) {
    const size_t end = text.find(separator);
    fields.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return fields;
    text.remove_prefix(end + 1);
  }
}

bool ParseId(std::string_view field, int32_t& id) {
  const auto parsed = std::from_chars(field.data(), field.data() + field.size(), id);
  return parsed.ec == std::errc() && parsed.ptr == field.data() + field.size();
}

// strtof, because not every standard library reads floats with from_chars.
bool ParseWeight(std::string_view field, float& weight) {
  const std::string text(field);
  char* end = nullptr;
  weight = std::strtof(text.c_str(), &end);
  return !text.empty() && end == text.c_str() + text.size() && std::isfinite(weight);
}

// Appends the sequence of one line.
Status ReadLine(std::string_view line, LayerRouting& layer) {
  const std::vector<std::string_view> fields = SplitAt(line, '\t');
  const size_t ids = (fields.size() - 1) / 2;
  if (fields.size() % 2 == 0 || ids == 0 || !fields[ids].empty()) {
    return InvalidInput(fmt::format(
        "found {} fields; expected ids, an empty field and as many weights", fields.size()));
  }
  for (size_t i = 0; i < ids; ++i) {
    int32_t id = 0;
    float weight = 0;
    if (!ParseId(fields[i], id)) {
      return InvalidInput(fmt::format("field {} is no expert id", i + 1));
    }
    if (!ParseWeight(fields[ids + 1 + i], weight)) {
      return InvalidInput(fmt::format("field {} is no weight", ids + 2 + i));
    }
    layer.ids.push_back(id);
    layer.weights.push_back(weight);
  }
  return OkStatus();
}

// One layer; `starts` receives the borders of its sequences in tokens.
Result<LayerRouting> ReadLayerFile(const std::filesystem::path& path, int number, size_t k,
                                   std::vector<int64_t>& starts) {
  NPUMOE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  LayerRouting layer;
  layer.layer = number;
  size_t line_number = 0;
  for (std::string_view line : SplitAt(text, '\n')) {
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const std::string where = fmt::format("{}:{}", path.string(), line_number);
    starts.push_back(static_cast<int64_t>(layer.ids.size() / k));
    const Status status = ReadLine(line, layer);
    if (!status.ok()) return status.WithContext(where);
    if (layer.ids.size() % k != 0) {
      return InvalidInput(fmt::format("{}: the number of ids is no multiple of {}", where, k));
    }
  }
  return layer;
}

}  // namespace

Result<RoutingTrace> ReadEsftTrace(const std::filesystem::path& folder, int num_experts,
                                   int experts_per_token) {
  NPUMOE_CHECK(num_experts >= 1 && experts_per_token >= 1);
  NPUMOE_ASSIGN_OR_RETURN(const auto files, FindLayerFiles(folder));
  RoutingTrace trace;
  trace.num_experts = num_experts;
  trace.experts_per_token = experts_per_token;
  for (const auto& [number, path] : files) {
    std::vector<int64_t> starts;
    NPUMOE_ASSIGN_OR_RETURN(
        LayerRouting layer,
        ReadLayerFile(path, number, static_cast<size_t>(experts_per_token), starts));
    trace.layers.push_back(std::move(layer));
    if (trace.layers.size() == 1) trace.sequence_starts = starts;
    if (starts != trace.sequence_starts) {
      return InvalidInput(fmt::format("{}: its sequences differ from those of layer {}",
                                      path.string(), trace.layers.front().layer));
    }
  }
  const Status valid = ValidateTrace(trace);
  if (!valid.ok()) return valid.WithContext(folder.string());
  return trace;
}

}  // namespace npumoe
