#include "runtime/conformance/conformance.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "base/dtype.h"
#include "graph/mlpackage.h"
#include "graph/validator.h"
#include "runtime/row_error.h"
#include "runtime/verify.h"

namespace npumoe {
namespace {

using Outcome = ConformanceVerdict::Outcome;

bool Contains(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// Rules of the validator that a package breaks, each once.
struct BrokenRules {
  std::vector<std::string> errors, warnings;
};

BrokenRules RulesOf(const Mlpackage& package, const ChipProfile& profile) {
  const PackageFacts facts{static_cast<int64_t>(package.functions.size()),
                           package.weight_file_bytes};
  BrokenRules broken;
  for (const Graph& function : package.functions) {
    for (const Violation& violation : ValidateGraph(function, LimitsOf(profile), facts)) {
      auto& list = violation.severity == Severity::kError ? broken.errors : broken.warnings;
      if (!Contains(list, violation.rule)) list.push_back(violation.rule);
    }
  }
  return broken;
}

Result<double> ErrorOf(const NamedValues& expected, const ProgramRun& run) {
  double worst = 0;
  for (const auto& [name, values] : expected) {
    const auto found = run.outputs.find(name);
    if (found == run.outputs.end() || found->second.spec.dtype != DType::kF16 ||
        found->second.spec.shape.elements() != static_cast<int64_t>(values.size())) {
      return InvalidInput(fmt::format("the loaded program has no output '{}' of {} fp16 values",
                                      name, values.size()));
    }
    NPUMOE_CHECK(std::any_of(values.begin(), values.end(), [](float v) { return v != 0; }));
    RowError error;
    error.Add({found->second.bytes.data(), 1, OutputRow::Layout::kF16Row}, values);
    worst = std::max(worst, error.Relative());
  }
  return worst;
}

// Halves that a program takes as they are.
std::map<std::string, OwnedTensor> Halves(const Graph& graph, const NamedValues& values) {
  std::map<std::string, OwnedTensor> tensors;
  for (const TensorSpec& spec : graph.inputs) {
    const std::vector<float>& given = values.at(spec.name);
    NPUMOE_CHECK(static_cast<int64_t>(given.size()) == spec.shape.elements());
    OwnedTensor tensor{spec, AlignedBuffer<std::byte>(spec.bytes())};
    auto* halves = reinterpret_cast<uint16_t*>(tensor.bytes.data());
    std::transform(given.begin(), given.end(), halves, F16FromF32);
    tensors.emplace(spec.name, std::move(tensor));
  }
  return tensors;
}

Result<std::unique_ptr<Program>> LoadFunction(Device& device, const std::filesystem::path& package,
                                              const std::string& name, const BrokenRules& broken,
                                              ConformanceVerdict& verdict) {
  Result<std::unique_ptr<Program>> program = device.Load(package, name);
  if (program.ok()) return program;
  const Status& status = program.status();
  const bool is_refusal =
      status.code() == StatusCode::kUnsupported || status.code() == StatusCode::kResourceExhausted;
  if (is_refusal && !broken.errors.empty()) {
    verdict.outcome = Outcome::kRefused;
    return status;
  }
  // Core ML device's word for a program whose products it would compute on the CPU.
  if (status.message().find("placed-elsewhere") != std::string::npos &&
      Contains(broken.warnings, "program-small")) {
    verdict.outcome = Outcome::kNotTaken;
    return status;
  }
  return is_refusal ? status.WithContext("the validator accepts it, the device does not") : status;
}

void AddPlan(const Program& program, ComputePlan& sum) {
  const std::optional<ComputePlan> plan = program.compute_plan();
  if (!plan) return;
  sum.operations += plan->operations;
  sum.on_device += plan->on_device;
  if (sum.elsewhere.empty()) sum.elsewhere = plan->elsewhere;
}

}  // namespace

double WeightRounding(WeightFormat format) {
  return ScaleCount(format, 1, 32) > 0 ? kF16Rounding : 0;
}

std::vector<ConformanceCase> ConformanceCases(int64_t quantum) {
  std::vector<ConformanceCase> cases = ExpertCases(quantum);
  for (std::vector<ConformanceCase>& more :
       std::vector{AttentionCases(), LatentAttentionCases(), HeadCases()}) {
    std::move(more.begin(), more.end(), std::back_inserter(cases));
  }
  return cases;
}

const char* Name(ConformanceVerdict::Outcome outcome) {
  switch (outcome) {
    case Outcome::kAgrees:
      return "agrees";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kNotTaken:
      return "not taken";
    case Outcome::kFailed:
      return "failed";
    case Outcome::kNotTried:
      return "not tried";
  }
  return "";
}

ConformanceVerdict Conformance::Check(const ConformanceCase& tested) {
  ConformanceVerdict verdict;
  if (is_gone_) {
    verdict.status = {StatusCode::kDeviceLost, "the device did not come back after an earlier one"};
    return verdict;
  }
  verdict.outcome = Outcome::kAgrees;
  const std::vector<std::string>& forms = profile_.limits.refused_forms;
  if (tested.form && Contains(forms, Name(*tested.form))) {
    verdict.outcome = Outcome::kRefused;
    verdict.rules = {"refused-form"};
    verdict.status = Unsupported(
        fmt::format("{} takes no programs of form {}", profile_.name, Name(*tested.form)));
    return verdict;
  }
  // A name of its own each time: devices know packages by their paths.
  const std::filesystem::path package =
      folder_ / fmt::format("conformance-{}.mlpackage", ++packages_);
  verdict.status = CheckFunctions(tested, package, verdict);
  std::error_code ignored;
  std::filesystem::remove_all(package, ignored);
  if (!verdict.status.ok() && verdict.outcome == Outcome::kAgrees) {
    verdict.outcome = Outcome::kFailed;
    NoteIfGone(verdict.status);
  }
  return verdict;
}

Status Conformance::CheckFunctions(const ConformanceCase& tested, const std::filesystem::path& path,
                                   ConformanceVerdict& verdict) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<ConformanceFunction> functions, tested.make());
  std::vector<Graph> graphs;
  for (const ConformanceFunction& function : functions) graphs.push_back(function.graph);
  NPUMOE_RETURN_IF_ERROR(WriteMlpackage(path, graphs, {"conformance", {}}));
  NPUMOE_ASSIGN_OR_RETURN(const Mlpackage package, ReadMlpackage(path));
  const BrokenRules broken = RulesOf(package, profile_);
  verdict.rules = broken.errors;
  std::vector<std::unique_ptr<Program>> loaded;  // all at once: they share weights
  for (const ConformanceFunction& function : functions) {
    NPUMOE_ASSIGN_OR_RETURN(loaded.emplace_back(),
                            LoadFunction(device_, path, function.graph.name, broken, verdict));
    AddPlan(*loaded.back(), verdict.plan);
  }
  for (size_t i = 0; i < functions.size(); ++i) {
    const auto halves = Halves(functions[i].graph, functions[i].inputs);
    std::map<std::string, TensorView> inputs;
    for (const auto& [name, tensor] : halves) inputs[name] = tensor.view();
    NPUMOE_ASSIGN_OR_RETURN(const ProgramRun run,
                            RunLoadedProgram(loaded[i], device_, inputs, timeout_ms_));
    NPUMOE_ASSIGN_OR_RETURN(const Graph* stored, package.Function(functions[i].graph.name));
    NPUMOE_ASSIGN_OR_RETURN(const NamedValues expected, functions[i].expect(*stored));
    NPUMOE_ASSIGN_OR_RETURN(const double error, ErrorOf(expected, run));
    verdict.error = std::max(verdict.error, error);
    ++verdict.functions;
  }
  if (verdict.error <= tested.tolerance) return OkStatus();
  return {StatusCode::kNumeric, fmt::format("off by {:.2g} of the largest value; {:.2g} is allowed",
                                            verdict.error, tested.tolerance)};
}

void Conformance::NoteIfGone(const Status& status) {
  if (status.code() == StatusCode::kDeadlineExceeded) is_gone_ = true;
  if (status.code() == StatusCode::kDeviceLost) is_gone_ = !device_.Reopen().ok();
}

}  // namespace npumoe
