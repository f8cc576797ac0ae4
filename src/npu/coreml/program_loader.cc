#include "npu/coreml/program_loader.h"

#include <fmt/format.h>

#include <utility>
#include <variant>

#include "base/log.h"
#include "npu/coreml/bridge_failure.h"
#include "npu/coreml/folder_contents.h"
#include "npu/coreml/pending.h"
#include "npu/coreml/prediction.h"

namespace npumoe::coreml_device {
namespace {

Status TooLate(Step step, double limit_ms) {
  return {StatusCode::kDeadlineExceeded,
          fmt::format("{}: not finished within {:.0f} s; it goes on in the background", Name(step),
                      limit_ms / 1e3)};
}

// Calls start(receiver) and waits.
template <class T, class Start>
Result<T> WaitForAnswer(Step step, double limit_ms, const Start& start) {
  Pending<Answer<T>> pending;
  start(pending.receiver());
  auto answer = pending.Wait(limit_ms);
  if (!answer) return TooLate(step, limit_ms);
  if (const auto* failure = std::get_if<Failure>(&*answer)) return StatusOf(*failure, step);
  return std::get<T>(std::move(*answer));
}

FunctionRef RefOf(const LoadJob& job, const CachedModel& cached) {
  return {cached.compiled(), job.function, job.is_only};
}

Result<std::vector<NamedMemory>> MakeMemories(Bridge& bridge,
                                              const std::vector<TensorSpec>& specs) {
  std::vector<NamedMemory> memories;
  for (const TensorSpec& spec : specs) {
    NPUMOE_ASSIGN_OR_RETURN(auto memory, TensorMemory::Make(bridge, spec));
    memories.push_back({spec.name, std::move(memory)});
  }
  return memories;
}

}  // namespace

ProgramLoader::ProgramLoader(const CoremlOptions& options, const CoremlParts& parts, HostFacts host,
                             std::shared_ptr<CompiledCache> cache)
    : options_(options), parts_(parts), host_(std::move(host)), cache_(std::move(cache)) {}

Result<CacheKey> ProgramLoader::KeyOf(const LoadJob& job) const {
  NPUMOE_ASSIGN_OR_RETURN(std::string hash, HashPackage(job.package));
  return CacheKey{std::move(hash), host_.os_build};
}

template <class Attempt>
auto ProgramLoader::WithOneRetry(const Attempt& attempt) -> decltype(attempt()) {
  auto first = attempt();
  if (first.ok()) {
    pauses_help_ = true;
    return first;
  }
  if (!IsWorthARetry(first.status()) || !pauses_help_) return first;
  LogInfo(fmt::format("{}; trying again in {:.0f} s", first.status().message(),
                      options_.retry_pause_ms / 1e3));
  parts_.pause(options_.retry_pause_ms);
  auto second = attempt();
  pauses_help_ = second.ok();
  if (second.ok()) return second;
  return Status(second.status().code(),
                fmt::format("{}; the same after {:.0f} s", second.status().message(),
                            options_.retry_pause_ms / 1e3));
}

Result<LoadedFunction> ProgramLoader::Load(const LoadJob& job) {
  NPUMOE_ASSIGN_OR_RETURN(const CacheKey key, KeyOf(job));
  NPUMOE_ASSIGN_OR_RETURN(auto cached, FindOrCompile(job, key));
  const VerifiedFunctions verified = ReadVerified(cached->entry(), host_);
  if (const auto known = verified.find(job.function); known != verified.end()) {
    return LoadVerified(job, key, std::move(cached), known->second);
  }
  return LoadAndVerify(job, std::move(cached));
}

Status ProgramLoader::KnownRefusal(const LoadJob& job) {
  NPUMOE_ASSIGN_OR_RETURN(const CacheKey key, KeyOf(job));
  const CompiledCache::Found found = cache_->Find(key);
  if (found.model == nullptr) return OkStatus();
  const VerifiedFunctions verified = ReadVerified(found.model->entry(), host_);
  const auto known = verified.find(job.function);
  if (known == verified.end()) return OkStatus();
  return CheckPlacement(known->second, options_.cpu_products);
}

Result<std::shared_ptr<CachedModel>> ProgramLoader::FindOrCompile(const LoadJob& job,
                                                                  const CacheKey& key) {
  if (auto found = cache_->Find(key); found.model != nullptr) return std::move(found.model);
  const std::lock_guard lock(compiling_);
  auto found = cache_->Find(key);  // somebody else may have been at it
  if (found.model != nullptr) return std::move(found.model);
  if (!found.reason.empty()) {
    LogInfo(fmt::format("{}: compiling again: {}", job.package.string(), found.reason));
  }
  return WithOneRetry([&] { return Compile(job, key); });
}

Result<std::shared_ptr<CachedModel>> ProgramLoader::Compile(const LoadJob& job,
                                                            const CacheKey& key) {
  using Stored = Result<std::shared_ptr<CachedModel>>;
  const auto start = [&](Receiver<Stored> receiver) {
    // Also when nobody waits any more: the next start finds it.
    parts_.bridge->Compile(job.package,
                           [cache = cache_, key, receiver](Answer<std::filesystem::path> answer) {
                             if (auto* failure = std::get_if<Failure>(&answer)) {
                               receiver(std::move(*failure));
                             } else {
                               receiver(cache->Store(key, std::get<std::filesystem::path>(answer)));
                             }
                           });
  };
  NPUMOE_ASSIGN_OR_RETURN(Stored stored,
                          WaitForAnswer<Stored>(Step::kCompile, options_.compile_limit_ms, start));
  return stored;
}

// A program that was verified needs neither the plan nor a warning that it may crash. When it no
// longer loads, what was stored is suspected and made again.
Result<LoadedFunction> ProgramLoader::LoadVerified(const LoadJob& job, const CacheKey& key,
                                                   std::shared_ptr<CachedModel> cached,
                                                   const Placement& known) {
  NPUMOE_RETURN_IF_ERROR(CheckPlacement(known, options_.cpu_products));
  auto model = LoadModel(job, *cached);
  if (!model.ok() && IsWorthARetry(model.status())) {
    cached.reset();
    if (cache_->Discard(key)) {
      LogInfo(fmt::format("{}: compiling again: what was compiled no longer loads: {}",
                          job.package.string(), model.status().message()));
      NPUMOE_ASSIGN_OR_RETURN(auto compiled, FindOrCompile(job, key));
      return LoadAndVerify(job, std::move(compiled));
    }
    NPUMOE_ASSIGN_OR_RETURN(cached, FindOrCompile(job, key));  // somebody uses it: it is good
    model = WithOneRetry([&] { return LoadModel(job, *cached); });
  }
  if (!model.ok()) return model.status();
  LoadedFunction loaded{*std::move(model), std::move(cached), known};
  NPUMOE_RETURN_IF_ERROR(WarmUp(job, loaded));
  return loaded;
}

Result<LoadedFunction> ProgramLoader::LoadAndVerify(const LoadJob& job,
                                                    std::shared_ptr<CachedModel> cached) {
  NPUMOE_ASSIGN_OR_RETURN(const auto attempt, LoadAttempt::Begin(cached->entry(), job.function));
  NPUMOE_ASSIGN_OR_RETURN(Placement placement, ReadPlacement(job, *cached));
  const auto record = [&] {
    const std::lock_guard lock(recording_);
    const Status written = AddVerified(cached->entry(), host_, job.function, placement);
    if (!written.ok()) LogWarning(written.message() + "; the program is verified again next time");
  };
  if (const Status placed = CheckPlacement(placement, options_.cpu_products); !placed.ok()) {
    record();  // known without loading from now on
    return placed;
  }
  NPUMOE_ASSIGN_OR_RETURN(auto model, WithOneRetry([&] { return LoadModel(job, *cached); }));
  LoadedFunction loaded{std::move(model), cached, placement};
  NPUMOE_RETURN_IF_ERROR(WarmUp(job, loaded));
  record();
  return loaded;
}

Result<std::shared_ptr<Model>> ProgramLoader::LoadModel(const LoadJob& job,
                                                        const CachedModel& cached) {
  return WaitForAnswer<std::shared_ptr<Model>>(
      Step::kLoad, options_.load_limit_ms, [&](Receiver<std::shared_ptr<Model>> receiver) {
        parts_.bridge->Load(RefOf(job, cached), std::move(receiver));
      });
}

// A plan that cannot be read is no reason to refuse a program: it is said where it is reported.
Result<Placement> ProgramLoader::ReadPlacement(const LoadJob& job, const CachedModel& cached) {
  const auto plan = WaitForAnswer<std::vector<OperationUsage>>(
      Step::kPlan, options_.load_limit_ms, [&](Receiver<std::vector<OperationUsage>> receiver) {
        parts_.bridge->ReadPlan(RefOf(job, cached), std::move(receiver));
      });
  if (plan.ok()) return PlacementOf(*plan);
  if (plan.status().code() == StatusCode::kDeadlineExceeded) return plan.status();
  Placement unknown;
  unknown.unknown = plan.status().message();
  return unknown;
}

Status ProgramLoader::WarmUp(const LoadJob& job, const LoadedFunction& loaded) {
  if (options_.warm_up_runs < 1) return OkStatus();
  PredictionWork work;
  NPUMOE_ASSIGN_OR_RETURN(work.inputs, MakeMemories(*parts_.bridge, job.inputs));
  NPUMOE_ASSIGN_OR_RETURN(work.outputs, MakeMemories(*parts_.bridge, job.outputs));
  work.model = loaded.model;
  work.runs = options_.warm_up_runs;
  work.keeper = loaded.cached;
  Pending<Status> pending;
  StartPrediction(
      std::move(work), parts_.clock,
      [receiver = pending.receiver()](const Status& status, PredictionTimes) { receiver(status); });
  const auto status = pending.Wait(options_.first_run_limit_ms);
  if (!status) return TooLate(Step::kPredict, options_.first_run_limit_ms).WithContext("first run");
  return status->WithContext("first run");
}

}  // namespace npumoe::coreml_device
