#include "cli/conformance_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/placement_text.h"
#include "cli/table.h"

namespace npumoe::cli {
namespace {

using Json = nlohmann::ordered_json;
using Outcome = ConformanceVerdict::Outcome;
using Row = ConformanceReport::Row;

std::string CellOf(const ConformanceVerdict& verdict) {
  switch (verdict.outcome) {
    case Outcome::kAgrees:
      return fmt::format("{:.1e}{}", verdict.error, verdict.is_elsewhere() ? " *" : "");
    case Outcome::kRefused: {
      const size_t more = verdict.rules.size() - 1;
      return verdict.rules.front() + (more > 0 ? fmt::format(" +{}", more) : "");
    }
    case Outcome::kFailed:
      return "FAILED";
    case Outcome::kNotTaken:
    case Outcome::kNotTried:
      return Name(verdict.outcome);
  }
  return "";
}

// A line for each program and class of shapes; a format that cannot be written there has a "-".
std::string TableOf(const ConformanceReport& report) {
  std::vector<std::string> header = {"program", "shapes"};
  for (const WeightFormat format : kEveryFormat) header.emplace_back(Name(format));
  std::vector<Align> alignment(header.size(), Align::kRight);
  alignment[0] = alignment[1] = Align::kLeft;
  Table table(header, alignment);
  std::vector<std::string> cells;
  for (size_t i = 0; i < report.rows.size(); ++i) {
    const ConformanceCase& tested = report.rows[i].tested;
    if (cells.empty()) {
      cells = {tested.program, tested.shapes};
      cells.resize(header.size(), "-");
    }
    const auto column =
        std::distance(std::begin(kEveryFormat),
                      std::find(std::begin(kEveryFormat), std::end(kEveryFormat), tested.format));
    cells[static_cast<size_t>(2 + column)] = CellOf(report.rows[i].verdict);
    const bool is_last = i + 1 == report.rows.size() ||
                         report.rows[i + 1].tested.program != tested.program ||
                         report.rows[i + 1].tested.shapes != tested.shapes;
    if (is_last) table.AddRow(std::exchange(cells, {}));
  }
  return table.ToString();
}

std::string NameOf(const ConformanceCase& tested) {
  return fmt::format("{}, {}, {}", tested.program, tested.shapes, Name(tested.format));
}

// What is allowed, by program: "experts A 2.0e-03 (int8, ...: 2.4e-03)".
std::string ToleranceText(const ConformanceReport& report) {
  std::map<std::string, std::pair<double, double>> bounds;
  for (const Row& row : report.rows) {
    const std::string kind = row.tested.program.substr(0, row.tested.program.find(' '));
    auto& bound = bounds.try_emplace(kind, 1, 0).first->second;
    bound.first = std::min(bound.first, row.tested.tolerance);
    bound.second = std::max(bound.second, row.tested.tolerance);
  }
  std::string text;
  for (const auto& [kind, bound] : bounds) {
    text += fmt::format("{}{} {:.1e} (integers with scales {:.1e})", text.empty() ? "" : ", ", kind,
                        bound.first, bound.second);
  }
  return text;
}

// Rules, each with how many packages broke it.
std::map<std::string, int64_t> RulesOf(const ConformanceReport& report, bool refused) {
  std::map<std::string, int64_t> rules;
  for (const Row& row : report.rows) {
    if ((row.verdict.outcome == Outcome::kRefused) != refused) continue;
    for (const std::string& rule : row.verdict.rules) ++rules[rule];
  }
  return rules;
}

std::string RuleText(const std::map<std::string, int64_t>& rules) {
  std::string text;
  for (const auto& [rule, count] : rules) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", rule, count);
  }
  return text;
}

void PrintText(const ConformanceReport& report) {
  fmt::print("{}; rules of {}\n\n{}\n", report.device.description, report.chip, TableOf(report));
  fmt::print("cells    largest difference from the reference kernels, of the largest value\n");
  fmt::print("allowed  {}\n", ToleranceText(report));
  if (const auto rules = RulesOf(report, true); !rules.empty()) {
    fmt::print("refused  by rules (npumoe verify --graph --rules): {}\n", RuleText(rules));
  }
  if (const auto rules = RulesOf(report, false); !rules.empty()) {
    fmt::print("taken    though {} would refuse: {}\n", report.chip, RuleText(rules));
  }
  for (const Row& row : report.rows) {
    const ConformanceVerdict& v = row.verdict;
    if (v.outcome == Outcome::kAgrees && v.is_elsewhere()) {
      fmt::print("*        {}: {} of {} operations on the device; elsewhere: {}\n",
                 NameOf(row.tested), v.plan.on_device, v.plan.operations, v.plan.elsewhere);
    }
    if (v.outcome == Outcome::kFailed) {
      fmt::print("FAILED   {}: {}\n", NameOf(row.tested), v.status.message());
    }
  }
  fmt::print("{}", HealthText(report.health));
  fmt::print(
      "{} packages: {} agree ({} not wholly on the device), {} refused, {} not taken, {} "
      "failed, {} not tried\n",
      report.rows.size(), report.Count(Outcome::kAgrees), report.Elsewhere(),
      report.Count(Outcome::kRefused), report.Count(Outcome::kNotTaken),
      report.Count(Outcome::kFailed), report.Count(Outcome::kNotTried));
}

Json RowJson(const Row& row) {
  const ConformanceVerdict& v = row.verdict;
  const bool executed = v.functions > 0;
  Json placement;
  if (v.plan.operations > 0) {
    placement = {{"operations", v.plan.operations},
                 {"on_device", v.plan.on_device},
                 {"elsewhere", v.plan.elsewhere}};
  }
  return {{"program", row.tested.program},
          {"shapes", row.tested.shapes},
          {"format", Name(row.tested.format)},
          {"outcome", Name(v.outcome)},
          {"functions", v.functions},
          {"error", executed ? Json(v.error) : Json()},
          {"allowed", row.tested.tolerance},
          {"rules", v.rules},
          {"placement", placement},
          {"problem", v.status.message()}};
}

void PrintJson(const ConformanceReport& report) {
  Json packages = Json::array(), counts;
  for (const Row& row : report.rows) packages.push_back(RowJson(row));
  for (const Outcome outcome : {Outcome::kAgrees, Outcome::kRefused, Outcome::kNotTaken,
                                Outcome::kFailed, Outcome::kNotTried}) {
    counts[Name(outcome)] = report.Count(outcome);
  }
  const Json json = {
      {"device",
       {{"name", report.device.name},
        {"description", report.device.description},
        {"version", report.device.version}}},
      {"chip", report.chip},
      {"conforms", report.Conclusion(false).ok()},
      {"counts", counts},
      {"elsewhere", report.Elsewhere()},
      {"health", {{"restarts", report.health.restarts}, {"replays", report.health.replays}}},
      {"packages", packages}};
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

int64_t ConformanceReport::Count(Outcome outcome) const {
  return std::count_if(rows.begin(), rows.end(),
                       [&](const Row& row) { return row.verdict.outcome == outcome; });
}

int64_t ConformanceReport::Elsewhere() const {
  return std::count_if(rows.begin(), rows.end(), [](const Row& row) {
    return row.verdict.outcome == Outcome::kAgrees && row.verdict.is_elsewhere();
  });
}

Status ConformanceReport::Conclusion(bool require_npu) const {
  const int64_t wrong = Count(Outcome::kFailed) + Count(Outcome::kNotTried);
  if (wrong > 0) {
    return {StatusCode::kNumeric,
            fmt::format("{} of {} packages failed or were not tried on '{}': see the report", wrong,
                        rows.size(), device.name)};
  }
  const int64_t elsewhere = Elsewhere() + Count(Outcome::kNotTaken);
  if (require_npu && elsewhere > 0) {
    return Unsupported(fmt::format("--require-npu: {} of {} packages ran elsewhere, or would have",
                                   elsewhere, rows.size()));
  }
  return OkStatus();
}

void Print(const ConformanceReport& report, bool json) {
  if (json) {
    PrintJson(report);
  } else {
    PrintText(report);
  }
}

}  // namespace npumoe::cli
