#include "cli/convert_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/table.h"

namespace npumoe::cli {

std::string ConvertText(const ConvertReport& report) {
  return fmt::format("wrote {}: {} in {} tensors\n", report.path,
                     FormatBytes(static_cast<double>(report.bytes)),
                     FormatCount(static_cast<int64_t>(report.tensors)));
}

std::string ConvertRemarks(const ConvertReport& report) {
  std::string text;
  for (const TypeFallback& f : report.fallbacks) {
    text += fmt::format("fallback: {} ({}): {} instead of {}: {}\n", f.weights,
                        FormatCount(f.tensors), Name(f.used), Name(f.wanted), f.reason);
  }
  for (const LossyChange& change : report.lossy) {
    text += fmt::format("lossy: {} rounded to {} ({})\n", Name(change.from), Name(change.to),
                        FormatCount(change.tensors));
  }
  for (const std::string& note : report.notes) text += "note: " + note + "\n";
  return text;
}

std::string ConvertJson(const ConvertReport& report) {
  nlohmann::ordered_json fallbacks = nlohmann::ordered_json::array();
  for (const TypeFallback& f : report.fallbacks) {
    fallbacks.push_back({{"weights", f.weights},
                         {"tensors", f.tensors},
                         {"wanted", Name(f.wanted)},
                         {"used", Name(f.used)},
                         {"reason", f.reason}});
  }
  nlohmann::ordered_json lossy = nlohmann::ordered_json::array();
  for (const LossyChange& change : report.lossy) {
    lossy.push_back(
        {{"from", Name(change.from)}, {"to", Name(change.to)}, {"tensors", change.tensors}});
  }
  return nlohmann::ordered_json{
      {"path", report.path},    {"bytes", report.bytes}, {"tensors", report.tensors},
      {"fallbacks", fallbacks}, {"lossy", lossy},        {"notes", report.notes}}
      .dump(2);
}

}  // namespace npumoe::cli
