#include "cli/convert_report.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "cli/table.h"

namespace npumoe::cli {
namespace {

// Tensors of one kind in all layers fall back alike: one line for them, with the number.
std::string WithoutLayer(const std::string& name) {
  std::string kind;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool digit = name[i] >= '0' && name[i] <= '9';
    if (!digit) kind += name[i];
    if (digit && (i == 0 || name[i - 1] == '.')) kind += '*';
  }
  return kind;
}

}  // namespace

std::string ConvertText(const ConvertReport& report) {
  std::string text = fmt::format("wrote {}: {} in {} tensors\n", report.path,
                                 FormatBytes(static_cast<double>(report.bytes)),
                                 FormatCount(static_cast<int64_t>(report.tensors)));
  std::map<std::tuple<std::string, DType, DType, std::string>, int> kinds;
  for (const TypeFallback& f : report.fallbacks) {
    ++kinds[{WithoutLayer(f.tensor), f.wanted, f.used, f.reason}];
  }
  for (const auto& [kind, count] : kinds) {
    const auto& [name, wanted, used, reason] = kind;
    text += fmt::format("fallback: {} ({}) {} instead of {}: {}\n", name, count, Name(used),
                        Name(wanted), reason);
  }
  for (const std::string& note : report.notes) text += "note: " + note + "\n";
  return text;
}

std::string ConvertJson(const ConvertReport& report) {
  nlohmann::ordered_json fallbacks = nlohmann::ordered_json::array();
  for (const TypeFallback& f : report.fallbacks) {
    fallbacks.push_back({{"tensor", f.tensor},
                         {"wanted", Name(f.wanted)},
                         {"used", Name(f.used)},
                         {"reason", f.reason}});
  }
  return nlohmann::ordered_json{{"path", report.path},
                                {"bytes", report.bytes},
                                {"tensors", report.tensors},
                                {"fallbacks", fallbacks},
                                {"notes", report.notes}}
      .dump(2);
}

}  // namespace npumoe::cli
