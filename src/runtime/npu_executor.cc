#include "runtime/npu_executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "plan/lowering.h"

namespace npumoe {
namespace {

Status CheckOptions(const NpuExecutorOptions& options, OverflowMode overflow) {
  if (overflow == OverflowMode::kDrop && options.allow_lossy == AllowLossy::kNo) {
    return UsageError(
        "overflow mode 'drop' leaves tokens out of their experts, which changes answers: allow it "
        "with --allow-lossy, or choose --overflow spill, which loses nothing");
  }
  if (options.chunks_in_flight < 1 || options.chunks_in_flight > 2) {
    return UsageError(
        fmt::format("{} chunks in flight; 1 or 2 are possible", options.chunks_in_flight));
  }
  if (!(options.retry_pause_ms >= 0)) {
    return UsageError(fmt::format("a pause of {} ms before a retry; it must not be below 0",
                                  options.retry_pause_ms));
  }
  if (!(options.timeout_ms > 0)) {
    return UsageError(
        fmt::format("a launch timeout of {} ms; it must be above 0", options.timeout_ms));
  }
  return OkStatus();
}

const CompiledProgram* FindProgram(std::span<const CompiledProgram> compiled, int layer,
                                   int program) {
  for (const CompiledProgram& candidate : compiled) {
    if (candidate.layer == layer && candidate.program == program) return &candidate;
  }
  return nullptr;
}

// The program as it is in one bucket.
PlannedProgram AtBucket(const PlannedProgram& planned, size_t bucket) {
  if (bucket == planned.smaller_buckets.size()) return planned;
  PlannedProgram smaller{planned.form, planned.experts};
  for (size_t i = 0; i < smaller.experts.size(); ++i) {
    smaller.experts[i].capacity = planned.smaller_buckets[bucket][i];
  }
  return smaller;
}

}  // namespace

NpuExecutor::NpuExecutor(const Plan& plan, const ChipProfile& profile,
                         std::shared_ptr<const Model> model, Device& device,
                         const NpuExecutorOptions& options)
    : plan_(plan),
      model_(std::move(model)),
      device_(device),
      options_(options),
      max_requests_in_flight_(profile.limits.max_requests_in_flight),
      overflow_(options.overflow.value_or(plan.overflow)),
      costs_(model_->config, profile, BytesPerWeight(*model_), plan.weight_format) {
  report_.device = device.info().description;
  if (options.verification == Verification::kOff) report_.device += ", numbers not verified";
}

Result<std::unique_ptr<NpuExecutor>> NpuExecutor::Create(
    const Plan& plan, const ChipProfile& profile, std::shared_ptr<const Model> model,
    Device& device, std::span<const CompiledProgram> compiled, const NpuExecutorOptions& options) {
  NPUMOE_RETURN_IF_ERROR(CheckPlanFits(plan, model->config, model->hash, profile));
  NPUMOE_RETURN_IF_ERROR(CheckOptions(options, options.overflow.value_or(plan.overflow)));
  std::unique_ptr<NpuExecutor> executor(
      new NpuExecutor(plan, profile, std::move(model), device, options));
  for (const LayerPlan& layer : executor->plan_.layers) executor->LoadLayer(layer, compiled);
  for (const LayerPlan& layer : executor->plan_.layers) {
    executor->LoadSmallerBuckets(layer, compiled);
  }
  executor->PreallocateBuffers();
  return executor;
}

void NpuExecutor::LoadLayer(const LayerPlan& layer, std::span<const CompiledProgram> compiled) {
  LayerState& state = layers_[layer.layer];
  state.residency.resize(static_cast<size_t>(plan_.expert_count()));
  for (size_t p = 0; p < layer.programs.size(); ++p) {
    const PlannedProgram& planned = layer.programs[p];
    const auto index = static_cast<int>(p);
    ProgramPlacement placement;
    placement.layer = layer.layer;
    placement.program = index;
    placement.form = planned.form;
    placement.experts = planned.experts;
    ProgramState& program = state.programs.emplace_back();
    program.placement = report_.programs.size();
    program.capacities = planned.Buckets();
    program.buckets.resize(program.capacities.size());
    const auto lowered = FindAndLower(layer, index, compiled);
    auto loaded = lowered.ok() ? LoadBucket(layer, index, planned.smaller_buckets.size(), *lowered)
                               : Result<std::unique_ptr<NpuProgram>>(lowered.status());
    if (loaded.ok()) {
      placement.loaded = placement.in_service = true;
      placement.weight_bytes = (*loaded)->program().weight_bytes();
      CountPlacement(**loaded, placement);
      program.buckets.back() = std::move(*loaded);
    } else {
      placement.refusal = loaded.status().message();
      Count(placement, "load", placement.refusal);
    }
    for (const PlannedExpert& expert : planned.experts) {
      state.residency[static_cast<size_t>(expert.expert)] = {expert.capacity, index,
                                                             placement.loaded};
    }
    state.in_service.push_back(program.buckets.back().get());
    report_.programs.push_back(std::move(placement));
  }
}

void NpuExecutor::LoadSmallerBuckets(const LayerPlan& layer,
                                     std::span<const CompiledProgram> compiled) {
  for (size_t p = 0; p < layer.programs.size(); ++p) {
    const auto index = static_cast<int>(p);
    ProgramState& program = StateOf(layer.layer, index);
    if (program.buckets.size() == 1 || program.buckets.back() == nullptr) continue;
    ProgramPlacement& placement = PlacementOf(layer.layer, index);
    const auto lowered = FindAndLower(layer, index, compiled);
    NPUMOE_CHECK(lowered.ok());  // as it was for the planned capacities
    for (size_t bucket = 0; bucket + 1 < program.buckets.size(); ++bucket) {
      auto loaded = LoadBucket(layer, index, bucket, *lowered);
      if (!loaded.ok()) {
        Count(placement, "load", loaded.status().message());
        continue;
      }
      CountPlacement(**loaded, placement);
      program.buckets[bucket] = std::move(*loaded);
    }
  }
}

// A program that runs elsewhere is right, and slower than planned: it stays, and is shown.
void NpuExecutor::CountPlacement(NpuProgram& program, ProgramPlacement& placement) {
  const std::optional<ComputePlan> where = program.program().compute_plan();
  if (!where || where->on_device >= where->operations) return;
  Count(placement, "placement",
        fmt::format("the device runs {} of {} operations itself, the rest is on the CPU",
                    where->on_device, where->operations));
}

Result<NpuExecutor::Lowered> NpuExecutor::FindAndLower(
    const LayerPlan& layer, int program, std::span<const CompiledProgram> compiled) const {
  const PlannedProgram& planned = layer.programs[static_cast<size_t>(program)];
  const CompiledProgram* found = FindProgram(compiled, layer.layer, program);
  if (found == nullptr) return NotFound("not compiled; run `npumoe compile` with this plan");
  if (const std::string key = ProgramKey(plan_, layer, planned); found->key != key) {
    return InvalidInput(fmt::format("{} has the key {}, this plan needs {}; compile this plan",
                                    found->package.string(), found->key, key));
  }
  const auto& experts = model_->weights.layers[static_cast<size_t>(layer.layer)].experts;
  NPUMOE_ASSIGN_OR_RETURN(std::vector<Graph> functions,
                          LowerProgram(plan_, layer, planned, experts));
  return Lowered{std::move(functions), found};
}

Result<std::unique_ptr<NpuProgram>> NpuExecutor::LoadBucket(const LayerPlan& layer, int program,
                                                            size_t bucket, const Lowered& lowered) {
  const PlannedProgram& planned = layer.programs[static_cast<size_t>(program)];
  const bool is_main = bucket == planned.smaller_buckets.size();
  const Graph& graph = lowered.functions[is_main ? 0 : bucket + 1];
  auto loaded = device_.Load(lowered.package->package, graph.name);
  if (!loaded.ok()) {
    const bool corrupt = loaded.status().code() == StatusCode::kInvalidInput;
    return Status(
        loaded.status().code(),
        loaded.status().message() +
            (corrupt ? "; `npumoe compile` with this plan writes the package again" : ""));
  }
  auto bound = NpuProgram::Bind(std::move(*loaded), graph, AtBucket(planned, bucket),
                                plan_.hidden_size, layer.layer, program);
  if (!bound.ok()) return bound.status().WithContext(lowered.package->package.string());
  return bound;
}

// So that a device without memory shows at the start, and prefill allocates nothing.
void NpuExecutor::PreallocateBuffers() {
  for (auto& [layer, state] : layers_) {
    std::vector<Launch> launches;
    for (const ProgramState& program : state.programs) {
      for (const std::unique_ptr<NpuProgram>& bucket : program.buckets) {
        for (int i = 0; bucket != nullptr && i < options_.chunks_in_flight; ++i) {
          launches.emplace_back().program = bucket.get();
          AcquireBuffers(launches.back());
        }
      }
    }
    for (Launch& launch : launches) Release(launch);
  }
}

std::span<const NpuExecutor::Residency> NpuExecutor::ResidencyOf(int layer) const {
  const auto found = layers_.find(layer);
  NPUMOE_CHECK(found != layers_.end());
  return found->second.residency;
}

std::span<NpuProgram* const> NpuExecutor::ProgramsOf(int layer) const {
  const auto found = layers_.find(layer);
  NPUMOE_CHECK(found != layers_.end());
  return found->second.in_service;
}

std::vector<NpuProgram*> NpuExecutor::BucketsOf(int layer, int program) {
  std::vector<NpuProgram*> loaded;
  if (!PlacementOf(layer, program).in_service) return loaded;
  for (const std::unique_ptr<NpuProgram>& bucket : StateOf(layer, program).buckets) {
    if (bucket != nullptr) loaded.push_back(bucket.get());
  }
  return loaded;
}

NpuExecutor::ProgramState& NpuExecutor::StateOf(int layer, int program) {
  const auto found = layers_.find(layer);
  NPUMOE_CHECK(found != layers_.end());
  return found->second.programs[static_cast<size_t>(program)];
}

ProgramPlacement& NpuExecutor::PlacementOf(int layer, int program) {
  return report_.programs[StateOf(layer, program).placement];
}

void NpuExecutor::AddCounts(const DispatchCounts& counts) { report_.counts += counts; }

void NpuExecutor::AddOverflow(int layer, int expert, int64_t rows) {
  const int program = ResidencyOf(layer)[static_cast<size_t>(expert)].program;
  ProgramPlacement& placement = PlacementOf(layer, program);
  (overflow_ == OverflowMode::kSpill ? placement.spilled_rows : placement.dropped_rows) += rows;
}

void NpuExecutor::AddDegradedRows(int layer, int program, int64_t rows) {
  PlacementOf(layer, program).degraded_rows += rows;
  report_.degraded_rows += rows;
}

void NpuExecutor::Count(ProgramPlacement& placement, const std::string& what,
                        const std::string& reason) {
  events_.push_back({what, reason, placement.layer, placement.program});
  for (Degradation& known : placement.degradations) {
    if (known.what != what || known.reason != reason) continue;
    ++known.count;
    return;
  }
  placement.degradations.push_back({what, reason, 1});
}

void NpuExecutor::Retire(int layer, int program, const std::string& reason, Again again) {
  LayerState& state = layers_[layer];
  NpuProgram*& in_service = state.in_service[static_cast<size_t>(program)];
  if (in_service == nullptr) return;
  for (const PlannedExpert& expert : in_service->planned().experts) {
    state.residency[static_cast<size_t>(expert.expert)].in_service = false;
  }
  in_service = nullptr;
  ProgramPlacement& placement = PlacementOf(layer, program);
  placement.in_service = false;
  placement.refusal = reason;
  ProgramState& program_state = state.programs[static_cast<size_t>(program)];
  if (again == Again::kNever || program_state.had_second_chance) return;
  program_state.retired.emplace();
  ++programs_on_pause_;
}

void NpuExecutor::ReviveAfterPause() {
  if (programs_on_pause_ == 0) return;
  ReclaimAbandoned(0);  // nobody else does while nothing is launched
  for (auto& [layer, state] : layers_) {
    for (size_t p = 0; p < state.programs.size(); ++p) {
      ProgramState& program = state.programs[p];
      if (!program.retired || program.retired->ElapsedMs() < options_.retry_pause_ms) continue;
      if (HasAbandoned(layer, static_cast<int>(p))) continue;  // still busy with an old launch
      program.retired.reset();
      program.had_second_chance = true;
      program.checked.clear();
      program.failures_in_a_row = kFailuresBeforeRetirement - 1;
      --programs_on_pause_;
      state.in_service[p] = program.buckets.back().get();
      for (const PlannedExpert& expert : state.in_service[p]->planned().experts) {
        state.residency[static_cast<size_t>(expert.expert)].in_service = true;
      }
      ProgramPlacement& placement = report_.programs[program.placement];
      placement.in_service = true;
      placement.refusal.clear();
    }
  }
}

void NpuExecutor::RetireAll(const std::string& reason) {
  for (auto& [layer, state] : layers_) {
    for (size_t p = 0; p < state.programs.size(); ++p) {
      Retire(layer, static_cast<int>(p), reason, Again::kNever);
      state.programs[p].retired.reset();  // nor does what was on pause come back
    }
  }
  programs_on_pause_ = 0;
}

std::vector<DegradationEvent> NpuExecutor::TakeEvents() { return std::exchange(events_, {}); }

PlacementReport NpuExecutor::report() const {
  PlacementReport report = report_;
  report.health = device_.health();
  return report;
}

}  // namespace npumoe
