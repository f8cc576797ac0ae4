#include "runtime/package_compiler.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "base/log.h"
#include "base/thread_pool.h"
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

// Chosen: while one program waits for the disk others are encoded. Each keeps one matrix of its
// program in memory, or all experts' stacked: a third of its weights. Three keep one program's.
constexpr int kProgramsAtOnce = 3;

// One CompilePlan call. Compile() is called once for every program, from any thread.
class PlanCompile {
 public:
  using Progress = std::function<void(const CompileProgress&)>;

  PlanCompile(const Plan& plan, const Model& model, const ChipProfile& profile,
              const fs::path& cache, CacheStaging& staging, const Progress& progress)
      : plan_(plan), model_(model), profile_(profile), staging_(staging), progress_(progress) {
    for (const ProgramId& id : ProgramsOf(plan)) {
      const std::string key = ProgramKey(plan, id);
      report_.programs.push_back({id, cache / FileName(key), "main", key});
    }
    failed_ = ProgramCount();
  }

  int64_t ProgramCount() const { return static_cast<int64_t>(report_.programs.size()); }

  // Nothing where an earlier program has failed; a later one does not matter, so that which error
  // is reported does not depend on the threads.
  void Compile(int64_t index) {
    if (index > failed_) return;
    const CompiledProgram& program = report_.programs[static_cast<size_t>(index)];
    const Status status = FindOrWrite(program);
    if (status.ok()) return;
    const std::lock_guard lock(mutex_);
    if (index > failed_) return;
    failed_ = index;
    error_ = status.WithContext(Describe(program.id));
  }

  Result<CompileReport> Finish() && {
    if (failed_ < ProgramCount()) return error_;
    return std::move(report_);
  }

 private:
  Status FindOrWrite(const CompiledProgram& program) {
    if (fs::exists(program.package)) {
      const auto bytes = CheckPackage(program.package, program.key);
      if (bytes.ok()) {
        const std::lock_guard lock(mutex_);
        Count(program, *bytes, /*reused=*/true);
        return OkStatus();
      }
      LogWarning(bytes.status().message() + "; compiling it again");
      const std::lock_guard lock(mutex_);
      NPUMOE_RETURN_IF_ERROR(staging_.Withdraw(FileName(program.key)));
    }
    NPUMOE_ASSIGN_OR_RETURN(const int64_t bytes, Write(program.id, program.key));
    const std::lock_guard lock(mutex_);  // what progress has told is what the cache holds
    NPUMOE_ASSIGN_OR_RETURN(const CacheStaging::Published published,
                            staging_.Publish(FileName(program.key)));
    Count(program, bytes, published == CacheStaging::Published::kByAnother);
    return OkStatus();
  }

  // With the mutex held.
  void Count(const CompiledProgram& program, int64_t bytes, bool reused) {
    report_.bytes_total += bytes;
    if (!reused) report_.bytes_written += bytes;
    ++(reused ? report_.reused : report_.written);
    if (!progress_) return;
    progress_({report_.reused + report_.written, ProgramCount(), &program, reused});
  }

  // Writes the package into the staging folder.
  Result<int64_t> Write(const ProgramId& id, const std::string& key) {
    Encoders encoders;
    NPUMOE_ASSIGN_OR_RETURN(const std::vector<Graph> functions,
                            LowerPlanned(plan_, model_.config, model_.weights, id, &encoders));
    if (id.kind == ProgramKind::kExperts) {
      NPUMOE_RETURN_IF_ERROR(CheckForm(ExpertProgramOf(plan_, id).form, profile_));
    }
    for (const Graph& graph : functions) {
      NPUMOE_RETURN_IF_ERROR(
          CheckProgramLimits(graph, static_cast<int64_t>(functions.size()), profile_));
    }
    NPUMOE_RETURN_IF_ERROR(
        WriteMlpackage(staging_.path() / FileName(key), functions, MetadataOf(id, key)));
    AddErrors(encoders);
    return CheckPackage(staging_.path() / FileName(key), key);
  }

  void AddErrors(const Encoders& encoders) {
    const std::lock_guard lock(mutex_);
    for (const MatrixEncoder& encoder : encoders) {
      report_.largest_weight_error =
          std::max(report_.largest_weight_error, encoder.RelativeError().value_or(0));
    }
  }

  PackageMetadata MetadataOf(const ProgramId& id, const std::string& key) const {
    PackageMetadata metadata;
    metadata.user = {{kKeyField, key}, {"npumoe_layer", std::to_string(id.layer)}};
    if (id.kind != ProgramKind::kExperts) {
      metadata.description = "npumoe " + Describe(id);
      metadata.user["npumoe_weights_format"] = Name(plan_.dense_weight_format);
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
  CacheStaging& staging_;
  const Progress& progress_;
  std::mutex mutex_;                 // for all below and what staging_ moves
  CompileReport report_;             // its list of programs stays as it is
  std::atomic<int64_t> failed_ = 0;  // first program that failed; ProgramCount(): none
  Status error_;
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
  PlanCompile compile(plan, model, profile, cache_dir, *staging, progress);
  ThreadPool pool(kProgramsAtOnce);
  pool.ParallelFor(compile.ProgramCount(), [&](int64_t index, int) { compile.Compile(index); });
  return std::move(compile).Finish();
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
