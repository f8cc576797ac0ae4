#include "npu/emulator/fault_script.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <utility>

namespace npumoe::emulator {
namespace {

constexpr size_t kMaxScriptBytes = size_t{64} << 10;  // chosen: a thousand faults
constexpr size_t kMaxFaults = 1000;
constexpr int64_t kMaxCount = int64_t{1} << 40;
constexpr double kMaxMs = 1e9;  // eleven days

constexpr std::array<const char*, kFaultKinds> kNames = {"refuse-too-large",
                                                         "refuse-too-many",
                                                         "refuse-unsupported",
                                                         "slow-compile",
                                                         "cpu-placement",
                                                         "wrong",
                                                         "nan",
                                                         "overflow",
                                                         "hang",
                                                         "crash",
                                                         "lost"};

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(Trim(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

struct Assignment {
  std::string key;
  std::string value;
};

Result<std::vector<Assignment>> ParseAssignments(std::string_view text) {
  std::vector<Assignment> assignments;
  std::set<std::string> keys;
  for (const std::string_view part : Split(text, ',')) {
    const size_t equals = part.find('=');
    const std::string_view key = Trim(part.substr(0, equals));
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : Trim(part.substr(equals + 1));
    if (key.empty() || value.empty()) {
      return InvalidInput(fmt::format("'{}' is not KEY=VALUE", part));
    }
    if (!keys.insert(std::string(key)).second) {
      return InvalidInput(fmt::format("'{}' stands twice", key));
    }
    assignments.push_back({std::string(key), std::string(value)});
  }
  return assignments;
}

template <class T>
std::optional<T> ParseWhole(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<int64_t> ParseCount(const Assignment& a) {
  const auto value = ParseWhole<int64_t>(a.value);
  if (!value || *value < 1 || *value > kMaxCount) {
    return InvalidInput(
        fmt::format("{}={}; allowed are whole numbers from 1 to {}", a.key, a.value, kMaxCount));
  }
  return *value;
}

Result<uint64_t> ParseSeed(const Assignment& a) {
  const auto value = ParseWhole<uint64_t>(a.value);
  if (!value) return InvalidInput(fmt::format("{}={} is no whole number", a.key, a.value));
  return *value;
}

struct Range {
  double min = 0;
  double max = 0;
};

Result<double> ParseNumber(const Assignment& a, Range range) {
  const auto value = ParseWhole<double>(a.value);
  if (!value || !std::isfinite(*value) || *value < range.min || *value > range.max) {
    return InvalidInput(fmt::format("{}={}; allowed are numbers from {} to {}", a.key, a.value,
                                    range.min, range.max));
  }
  return *value;
}

// Which event: 0 for any.
Result<int64_t> ParseWhich(const Assignment& a) {
  if (a.value == "any") return int64_t{0};
  if (a.value == "first") return int64_t{1};
  const std::vector<std::string_view> parts = Split(a.value, '/');
  if (parts.size() == 2 && (parts[0] == "middle" || parts[0] == "last")) {
    NPUMOE_ASSIGN_OR_RETURN(
        const int64_t total,
        ParseCount({a.key + "=" + std::string(parts[0]) + "/TOTAL: TOTAL", std::string(parts[1])}));
    return parts[0] == "last" ? total : (total + 1) / 2;
  }
  if (parts[0] == "middle" || parts[0] == "last") {
    return InvalidInput(fmt::format("{}={} needs the total, as in {}/40", a.key, a.value, a.value));
  }
  if (parts.size() != 1 || !ParseWhole<int64_t>(a.value)) {
    return InvalidInput(
        fmt::format("{}={}; allowed are a number from 1, any, first, middle/TOTAL, last/TOTAL",
                    a.key, a.value));
  }
  return ParseCount(a);
}

Result<FaultKind> ParseKind(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<FaultKind>(i);
  }
  return InvalidInput(
      fmt::format("'{}' is not a fault; there are: {}", name, fmt::join(kNames, ", ")));
}

// The settings that a kind of fault has.
std::vector<std::string> SettingsOf(FaultKind kind) {
  switch (kind) {
    case FaultKind::kSlowCompile:
      return {"modelled-s", "sleep-ms"};
    case FaultKind::kCpuPlacement:
      return {"factor"};
    case FaultKind::kWrong:
    case FaultKind::kNan:
      return {"rows", "seed"};
    case FaultKind::kOverflow:
      return {"gain"};
    case FaultKind::kHang:
      return {"scope"};
    default:
      return {};
  }
}

Status ReadSetting(const Assignment& a, FaultEffect& effect) {
  const std::vector<std::string> known = SettingsOf(effect.kind);
  if (std::find(known.begin(), known.end(), a.key) == known.end()) {
    return InvalidInput(
        fmt::format("'{}' has no setting '{}'; it has: {}", Name(effect.kind), a.key,
                    known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", "))));
  }
  if (a.key == "scope") {
    if (a.value != "request" && a.value != "device") {
      return InvalidInput(fmt::format("scope={}; allowed are request, device", a.value));
    }
    effect.holds_device = a.value == "device";
  } else if (a.key == "seed") {
    NPUMOE_ASSIGN_OR_RETURN(effect.seed, ParseSeed(a));
  } else if (a.key == "modelled-s") {
    NPUMOE_ASSIGN_OR_RETURN(const double s, ParseNumber(a, {0, kMaxMs / 1e3}));
    effect.modelled_ms = s * 1e3;
  } else if (a.key == "sleep-ms") {
    NPUMOE_ASSIGN_OR_RETURN(effect.sleep_ms, ParseNumber(a, {0, kMaxMs}));
  } else if (a.key == "factor") {
    NPUMOE_ASSIGN_OR_RETURN(effect.factor, ParseNumber(a, {1, 1e9}));
  } else if (a.key == "rows") {
    NPUMOE_ASSIGN_OR_RETURN(effect.rows, ParseNumber(a, {0, 1}));
  } else {
    NPUMOE_ASSIGN_OR_RETURN(effect.gain, ParseNumber(a, {1, 1e30}));
  }
  return OkStatus();
}

FaultSite DefaultSite(FaultKind kind) {
  return kind <= FaultKind::kCpuPlacement ? FaultSite::kLoad : FaultSite::kLaunch;
}

Status ReadCondition(const Assignment& a, Fault& fault) {
  if (a.key == "load" || a.key == "launch") {
    fault.site = a.key == "load" ? FaultSite::kLoad : FaultSite::kLaunch;
    NPUMOE_ASSIGN_OR_RETURN(fault.ordinal, ParseWhich(a));
  } else if (a.key == "program") {
    fault.program = a.value;
  } else if (a.key == "every") {
    NPUMOE_ASSIGN_OR_RETURN(fault.every, ParseCount(a));
  } else if (a.key == "probability") {
    NPUMOE_ASSIGN_OR_RETURN(fault.probability, ParseNumber(a, {0, 1}));
  } else if (a.key == "seed") {
    NPUMOE_ASSIGN_OR_RETURN(fault.seed, ParseSeed(a));
  } else if (a.key == "times") {
    NPUMOE_ASSIGN_OR_RETURN(fault.times, ParseCount(a));
  } else {
    return InvalidInput(
        fmt::format("'{}' is not a condition; there are: load, launch, program, every, "
                    "probability, seed, times",
                    a.key));
  }
  return OkStatus();
}

Status CheckTogether(std::span<const Assignment> conditions, const Fault& fault) {
  std::set<std::string> has;
  for (const Assignment& a : conditions) has.insert(a.key);
  if (has.contains("load") && has.contains("launch")) {
    return InvalidInput("'load' and 'launch' exclude each other: write two faults");
  }
  if (fault.ordinal > 0 && (has.contains("every") || has.contains("probability"))) {
    return InvalidInput("a number of 'load' or 'launch' excludes 'every' and 'probability'");
  }
  if (has.contains("every") && has.contains("probability")) {
    return InvalidInput("'every' and 'probability' exclude each other");
  }
  if (has.contains("seed") && !has.contains("probability")) {
    return InvalidInput("'seed' after '@' is that of 'probability', which is missing");
  }
  return OkStatus();
}

Result<Fault> ParseFault(std::string_view text) {
  const size_t at = text.find('@');
  if (at == std::string_view::npos) {
    return InvalidInput("needs '@' and a condition that says when, as in: crash @ launch=3");
  }
  std::string_view what = Trim(text.substr(0, at));
  Fault fault;
  std::vector<Assignment> settings;
  if (const size_t open = what.find('('); open != std::string_view::npos) {
    if (what.back() != ')') return InvalidInput(fmt::format("'{}' does not end with ')'", what));
    NPUMOE_ASSIGN_OR_RETURN(settings,
                            ParseAssignments(what.substr(open + 1, what.size() - open - 2)));
    what = Trim(what.substr(0, open));
  }
  NPUMOE_ASSIGN_OR_RETURN(fault.effect.kind, ParseKind(what));
  for (const Assignment& a : settings) NPUMOE_RETURN_IF_ERROR(ReadSetting(a, fault.effect));
  fault.site = DefaultSite(fault.effect.kind);
  NPUMOE_ASSIGN_OR_RETURN(const auto conditions, ParseAssignments(text.substr(at + 1)));
  for (const Assignment& a : conditions) NPUMOE_RETURN_IF_ERROR(ReadCondition(a, fault));
  NPUMOE_RETURN_IF_ERROR(CheckTogether(conditions, fault));
  return fault;
}

}  // namespace

const char* Name(FaultKind kind) { return kNames[static_cast<size_t>(kind)]; }

Result<std::vector<Fault>> ParseFaultScript(std::string_view script) {
  if (script.size() > kMaxScriptBytes) {
    return InvalidInput(
        fmt::format("fault script: {} bytes; allowed are {}", script.size(), kMaxScriptBytes));
  }
  std::vector<Fault> faults;
  for (std::string_view line : Split(script, '\n')) {
    line = line.substr(0, line.find('#'));
    for (const std::string_view text : Split(line, ';')) {
      if (text.empty()) continue;
      const std::string where =
          fmt::format("fault script: fault {} ('{}')", faults.size() + 1, text);
      if (faults.size() == kMaxFaults) {
        return InvalidInput(fmt::format("{}: more than {} faults", where, kMaxFaults));
      }
      auto fault = ParseFault(text);
      if (!fault.ok()) return fault.status().WithContext(where);
      faults.push_back(*std::move(fault));
    }
  }
  return faults;
}

}  // namespace npumoe::emulator
