#include "cli/verify_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/engine.h"
#include "cli/table.h"
#include "graph/mlpackage.h"
#include "graph/validator/rules.h"
#include "npu/profile.h"

namespace npumoe::cli {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> KeysOf(const Rule& rule) {
  std::vector<std::string> keys;
  std::string_view rest = rule.keys;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    keys.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return keys;
}

// Entries of the profile that a key names: itself, or the points of a list.
std::vector<const FigureOrigin*> EntriesOf(const ChipProfile& profile, const std::string& key) {
  std::vector<const FigureOrigin*> entries;
  for (const FigureOrigin& origin : profile.origins) {
    if (origin.key == key || origin.key.starts_with(key + "[")) entries.push_back(&origin);
  }
  return entries;
}

bool Holds(const Rule& rule, const ChipProfile& profile) {
  const std::vector<std::string> keys = KeysOf(rule);
  if (keys.empty()) return true;
  return std::any_of(keys.begin(), keys.end(), [&](const std::string& key) {
    const auto entries = EntriesOf(profile, key);
    return std::any_of(entries.begin(), entries.end(), [](const FigureOrigin* entry) {
      return entry->value != "false" && !entry->value.empty();
    });
  });
}

struct Verdict {
  const Rule* rule = nullptr;
  std::string word;  // "ok", "warning", "refused", "no limit", "-"
  std::string found, why, remedy;
};

struct FunctionVerdict {
  std::string name;
  std::vector<Verdict> rules;
  int64_t Count(std::string_view word) const {
    return std::count_if(rules.begin(), rules.end(),
                         [&](const Verdict& v) { return v.word == word; });
  }
};

Verdict VerdictOn(const Rule& rule, const ChipProfile& profile,
                  const std::map<std::string, Violation>& violations) {
  const auto violation = violations.find(rule.id);
  if (violation != violations.end()) {
    const Violation& v = violation->second;
    return {&rule, v.severity == Severity::kError ? "refused" : "warning", v.found, v.why,
            v.remedy};
  }
  if (rule.by == CheckedBy::kPlan || rule.by == CheckedBy::kDevice) {
    return {&rule, "-", fmt::format("a matter of the {}", Name(rule.by)), "", ""};
  }
  return {&rule, Holds(rule, profile) ? "ok" : "no limit", "", "", ""};
}

FunctionVerdict Judge(const Graph& graph, const PackageFacts& facts, const ChipProfile& profile) {
  std::map<std::string, Violation> violations;
  for (Violation& violation : ValidateGraph(graph, LimitsOf(profile), facts)) {
    violations.emplace(violation.rule, violation);
  }
  FunctionVerdict function{graph.name, {}};
  for (const Rule& rule : ValidatorRules()) {
    function.rules.push_back(VerdictOn(rule, profile, violations));
  }
  return function;
}

void PrintFunctions(const GraphCheck& check, const std::vector<FunctionVerdict>& functions) {
  for (const FunctionVerdict& function : functions) {
    fmt::print("{}: function '{}' on {}\n\n", check.package, function.name, check.chip);
    Table table({"rule", "verdict", "found", "why", "remedy"}, std::vector<Align>(5, Align::kLeft));
    for (const Verdict& v : function.rules) {
      table.AddRow({v.rule->id, v.word, v.found, v.why, v.remedy});
    }
    fmt::print("{}\n{} refused, {} warnings, {} ok\n\n", table.ToString(),
               function.Count("refused"), function.Count("warning"), function.Count("ok"));
  }
}

void PrintFunctionsAsJson(const GraphCheck& check, const ChipProfile& profile,
                          const std::vector<FunctionVerdict>& functions) {
  Json list = Json::array();
  for (const FunctionVerdict& function : functions) {
    Json rules = Json::array();
    for (const Verdict& v : function.rules) {
      rules.push_back({{"rule", v.rule->id},
                       {"verdict", v.word},
                       {"found", v.found},
                       {"why", v.why},
                       {"remedy", v.remedy}});
    }
    list.push_back({{"function", function.name},
                    {"refused", function.Count("refused")},
                    {"warnings", function.Count("warning")},
                    {"rules", rules}});
  }
  fmt::print("{}\n",
             Json{{"package", check.package}, {"chip", profile.name}, {"functions", list}}.dump(2));
}

std::string NamesOfRefusals(const std::vector<FunctionVerdict>& functions) {
  std::string names;
  for (const FunctionVerdict& function : functions) {
    for (const Verdict& v : function.rules) {
      if (v.word != "refused" || names.find(v.rule->id) != std::string::npos) continue;
      names += (names.empty() ? "" : ", ") + std::string(v.rule->id);
    }
  }
  return names;
}

Result<std::vector<ChipProfile>> KnownChips() {
  std::vector<ChipProfile> chips;
  for (const std::string& name : ListChipProfiles(ChipFolders())) {
    NPUMOE_ASSIGN_OR_RETURN(ChipProfile profile, LoadChipProfile(name, ChipFolders()));
    chips.push_back(std::move(profile));
  }
  return chips;
}

std::vector<std::string> ChipsOf(const Rule& rule, const std::vector<ChipProfile>& chips) {
  std::vector<std::string> names;
  for (const ChipProfile& chip : chips) {
    if (Holds(rule, chip)) names.push_back(chip.name);
  }
  return names;
}

Json RulesAsJson(const std::vector<ChipProfile>& chips) {
  Json rules = Json::array(), limits = Json::object();
  for (const Rule& rule : ValidatorRules()) {
    rules.push_back({{"rule", rule.id},
                     {"severity", Name(rule.severity)},
                     {"checked_by", Name(rule.by)},
                     {"demand", rule.demand},
                     {"why", rule.why},
                     {"source", rule.source},
                     {"remedy", rule.remedy},
                     {"keys", KeysOf(rule)},
                     {"chips", ChipsOf(rule, chips)}});
    for (const std::string& key : KeysOf(rule)) {
      for (const ChipProfile& chip : chips) {
        std::string value;
        for (const FigureOrigin* entry : EntriesOf(chip, key)) {
          value += (value.empty() ? "" : " ") + entry->value;
        }
        limits[key][chip.name] = value;
      }
    }
  }
  return {{"rules", rules}, {"limits", limits}};
}

}  // namespace

Status VerifyGraph(const GraphCheck& check) {
  NPUMOE_ASSIGN_OR_RETURN(const ChipProfile profile, LoadChipProfile(check.chip, ChipFolders()));
  NPUMOE_ASSIGN_OR_RETURN(const Mlpackage package, ReadMlpackage(check.package));
  const PackageFacts facts{static_cast<int64_t>(package.functions.size()),
                           package.weight_file_bytes};
  std::vector<FunctionVerdict> functions;
  for (const Graph& graph : package.functions) functions.push_back(Judge(graph, facts, profile));
  if (check.json) {
    PrintFunctionsAsJson(check, profile, functions);
  } else {
    PrintFunctions(check, functions);
  }
  const std::string refused = NamesOfRefusals(functions);
  if (refused.empty()) return OkStatus();
  return Unsupported(
      fmt::format("{}: {} refuses it (rules: {})", check.package, profile.name, refused));
}

Status ListValidatorRules(bool json) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<ChipProfile> chips, KnownChips());
  if (json) {
    fmt::print("{}\n", RulesAsJson(chips).dump(2));
    return OkStatus();
  }
  Table table({"rule", "severity", "checked by", "holds for", "what has to hold", "source"},
              std::vector<Align>(6, Align::kLeft));
  for (const Rule& rule : ValidatorRules()) {
    const std::vector<std::string> names = ChipsOf(rule, chips);
    std::string holds_for = names.empty() ? "none" : fmt::format("{}", fmt::join(names, " "));
    if (names.size() == chips.size()) holds_for = "all";
    table.AddRow(
        {rule.id, Name(rule.severity), Name(rule.by), holds_for, rule.demand, rule.source});
  }
  fmt::print(
      "{}\nSources are sections of docs/design/ane-facts.md; reasons, remedies and values "
      "for each chip: --json, docs/validator-rules.md\n",
      table.ToString());
  return OkStatus();
}

}  // namespace npumoe::cli
