#include "runtime/package_compiler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "graph/mlpackage.h"
#include "graph/validator.h"
#include "plan/lowering.h"
#include "runtime/cache_staging.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKeyField = "npumoe_key";

std::string FileName(const std::string& key) { return key + ".mlpackage"; }

// Weight bytes of a package that is whole and holds this key, or why it cannot be used.
Result<int64_t> CheckPackage(const fs::path& package, const std::string& key) {
  NPUMOE_ASSIGN_OR_RETURN(const Mlpackage read, ReadMlpackage(package));
  const auto found = read.metadata.user.find(kKeyField);
  if (found == read.metadata.user.end() || found->second != key) {
    return InvalidInput(
        fmt::format("{} holds another program (key {}, its name says {})", package.string(),
                    found == read.metadata.user.end() ? "none" : found->second, key));
  }
  return read.weight_file_bytes;
}

// One CompilePlan call.
class PlanCompile {
 public:
  PlanCompile(const Plan& plan, const Model& model, const ChipProfile& profile,
              const fs::path& cache, CacheStaging& staging)
      : plan_(plan), model_(model), profile_(profile), cache_(cache), staging_(staging) {}

  // Whether the program's package was there already.
  Result<bool> Compile(const ProgramId& id, CompileReport& report) {
    const std::string key = ProgramKey(plan_, id);
    const fs::path package = cache_ / FileName(key);
    report.programs.push_back({id, package, "main", key});
    if (fs::exists(package)) {
      const auto bytes = CheckPackage(package, key);
      if (bytes.ok()) {
        report.bytes_total += *bytes;
        ++report.reused;
        return true;
      }
      LogWarning(bytes.status().message() + "; compiling it again");
      NPUMOE_RETURN_IF_ERROR(staging_.Withdraw(FileName(key)));
    }
    NPUMOE_ASSIGN_OR_RETURN(const int64_t bytes, Write(id, key));
    NPUMOE_ASSIGN_OR_RETURN(const CacheStaging::Published published,
                            staging_.Publish(FileName(key)));
    report.bytes_total += bytes;
    if (published == CacheStaging::Published::kByAnother) {
      ++report.reused;
      return true;
    }
    report.bytes_written += bytes;
    ++report.written;
    return false;
  }

 private:
  // Writes the package into the staging folder.
  Result<int64_t> Write(const ProgramId& id, const std::string& key) {
    NPUMOE_ASSIGN_OR_RETURN(const std::vector<Graph> functions,
                            LowerPlanned(plan_, model_.config, model_.weights, id));
    if (id.kind == ProgramKind::kExperts) {
      NPUMOE_RETURN_IF_ERROR(CheckForm(ExpertProgramOf(plan_, id).form, profile_));
    }
    for (const Graph& graph : functions) {
      NPUMOE_RETURN_IF_ERROR(
          CheckProgramLimits(graph, static_cast<int64_t>(functions.size()), profile_));
    }
    NPUMOE_RETURN_IF_ERROR(
        WriteMlpackage(staging_.path() / FileName(key), functions, MetadataOf(id, key)));
    return CheckPackage(staging_.path() / FileName(key), key);
  }

  PackageMetadata MetadataOf(const ProgramId& id, const std::string& key) const {
    PackageMetadata metadata;
    metadata.user = {{kKeyField, key}, {"npumoe_layer", std::to_string(id.layer)}};
    if (id.kind != ProgramKind::kExperts) {
      metadata.description = "npumoe " + Describe(id);
      return metadata;
    }
    const PlannedProgram& program = ExpertProgramOf(plan_, id);
    metadata.description = fmt::format("npumoe expert program, layer {}, {} experts, form {}",
                                       id.layer, program.experts.size(), Name(program.form));
    metadata.user["npumoe_form"] = Name(program.form);
    metadata.user["npumoe_weights_format"] = Name(plan_.weight_format);
    return metadata;
  }

  const Plan& plan_;
  const Model& model_;
  const ChipProfile& profile_;
  const fs::path& cache_;
  CacheStaging& staging_;
};

}  // namespace

Status CheckForm(GraphForm form, const ChipProfile& profile) {
  const auto& refused = profile.limits.refused_forms;
  if (std::find(refused.begin(), refused.end(), Name(form)) == refused.end()) return OkStatus();
  return Unsupported(fmt::format(
      "{} does not take graphs of form {} (rule refused-form); plan again for this chip",
      profile.name, Name(form)));
}

Status CheckProgramLimits(const Graph& graph, int64_t functions, const ChipProfile& profile) {
  return RefusalOf(ValidateGraph(graph, LimitsOf(profile), {.functions = functions}));
}

Result<CompileReport> CompilePlan(const Plan& plan, const Model& model, const ChipProfile& profile,
                                  const fs::path& cache_dir,
                                  const std::function<void(const CompileProgress&)>& progress) {
  NPUMOE_RETURN_IF_ERROR(CheckPlanFits(plan, model.config, model.hash, profile));
  NPUMOE_ASSIGN_OR_RETURN(const auto staging, CacheStaging::Create(cache_dir));
  PlanCompile compile(plan, model, profile, cache_dir, *staging);
  CompileReport report;
  const std::vector<ProgramId> ids = ProgramsOf(plan);
  for (const ProgramId& id : ids) {
    const auto reused = compile.Compile(id, report);
    if (!reused.ok()) return reused.status().WithContext(Describe(id));
    if (progress) {
      progress({static_cast<int64_t>(report.programs.size()), static_cast<int64_t>(ids.size()),
                &report.programs.back(), *reused});
    }
  }
  return report;
}

Result<std::vector<CompiledProgram>> FindCompiled(const Plan& plan, const fs::path& cache_dir) {
  std::vector<CompiledProgram> programs;
  for (const ProgramId& id : ProgramsOf(plan)) {
    const std::string key = ProgramKey(plan, id);
    const fs::path package = cache_dir / FileName(key);
    if (!fs::exists(package)) {
      return NotFound(fmt::format("{}: no package for {}; run `npumoe compile` with this plan",
                                  package.string(), Describe(id)));
    }
    programs.push_back({id, package, "main", key});
  }
  return programs;
}

}  // namespace npumoe
