#include "graph/validator.h"

#include "graph/validator/rules.h"

namespace npumoe {
namespace {

// One violation for a rule: the first findings in words, the others as a number.
std::string Summary(const Findings& findings) {
  constexpr size_t kShown = 3;  // chosen: a message of a few lines
  std::string text;
  for (size_t i = 0; i < findings.size() && i < kShown; ++i) {
    text += (i == 0 ? "" : ", ") + findings[i];
  }
  if (findings.size() > kShown) {
    text += " and " + std::to_string(findings.size() - kShown) + " more";
  }
  return text;
}

}  // namespace

std::vector<Violation> ValidateGraph(const Graph& graph, const GraphLimits& limits,
                                     const PackageFacts& package) {
  const GraphFacts facts(graph);
  std::vector<Violation> violations;
  for (const Rule& rule : ValidatorRules()) {
    if (rule.find == nullptr) continue;
    const Findings findings = rule.find({facts, limits, package});
    if (findings.empty()) continue;
    const std::string why = std::string(rule.why) + " (ane-facts " + rule.source + ")";
    violations.push_back({rule.id, rule.severity, Summary(findings), why, rule.remedy});
  }
  return violations;
}

Status RefusalOf(const std::vector<Violation>& violations) {
  std::string message;
  for (const Violation& violation : violations) {
    if (violation.severity != Severity::kError) continue;
    message += (message.empty() ? "" : "; ") + violation.rule + ": " + violation.found + ": " +
               violation.why + ": " + violation.remedy;
  }
  return message.empty() ? OkStatus() : Unsupported(message);
}

}  // namespace npumoe
