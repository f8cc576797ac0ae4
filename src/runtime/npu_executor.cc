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

LaunchOptions LaunchOptionsOf(const NpuExecutorOptions& options, const ChipProfile& profile) {
  return {options.timeout_ms, options.verification, options.retry_pause_ms,
          profile.limits.max_requests_in_flight};
}

const CompiledProgram* FindProgram(std::span<const CompiledProgram> compiled, const ProgramId& id) {
  for (const CompiledProgram& candidate : compiled) {
    if (candidate.id == id) return &candidate;
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

ProgramPlacement PlacementOf(const Plan& plan, const ProgramId& id) {
  ProgramPlacement placement;
  placement.id = id;
  if (id.kind != ProgramKind::kExperts) return placement;
  placement.form = ExpertProgramOf(plan, id).form;
  placement.experts = ExpertProgramOf(plan, id).experts;
  return placement;
}

// The first function from `size` on that is loaded.
template <class Function>
Function* LoadedFrom(const std::vector<std::unique_ptr<Function>>& functions, size_t size) {
  while (functions[size] == nullptr) ++size;
  return functions[size].get();
}

}  // namespace

NpuExecutor::NpuExecutor(const Plan& plan, const ChipProfile& profile,
                         std::shared_ptr<const Model> model, Device& device,
                         std::span<const CompiledProgram> compiled,
                         const NpuExecutorOptions& options)
    : plan_(plan),
      model_(std::move(model)),
      device_(device),
      compiled_(compiled.begin(), compiled.end()),
      options_(options),
      overflow_(options.overflow.value_or(plan.overflow)),
      costs_(model_->config, profile, BytesPerWeight(*model_),
             {plan.weight_format, plan.dense_weight_format}),
      launches_(device, LaunchOptionsOf(options, profile)) {}

Result<std::unique_ptr<NpuExecutor>> NpuExecutor::Create(
    const Plan& plan, const ChipProfile& profile, std::shared_ptr<const Model> model,
    Device& device, std::span<const CompiledProgram> compiled, const NpuExecutorOptions& options) {
  NPUMOE_RETURN_IF_ERROR(CheckPlanFits(plan, model->config, model->hash, profile));
  NPUMOE_RETURN_IF_ERROR(CheckOptions(options, options.overflow.value_or(plan.overflow)));
  std::unique_ptr<NpuExecutor> executor(
      new NpuExecutor(plan, profile, std::move(model), device, compiled, options));
  executor->MakeRoom();
  const std::vector<ProgramId> ids = ProgramsOf(executor->plan_);
  for (const ProgramId& id : ids) executor->AddProgram(id);
  for (const ProgramId& id : ids) executor->LoadSmaller(id);
  executor->PreallocateBuffers();
  return executor;
}

void NpuExecutor::MakeRoom() {
  for (const LayerPlan& planned : plan_.layers) {
    ExpertLayer& layer = experts_[planned.layer];
    layer.residency.resize(static_cast<size_t>(plan_.expert_count()));
    for (size_t p = 0; p < planned.programs.size(); ++p) {
      ExpertProgram& program = layer.programs.emplace_back();
      program.capacities = planned.programs[p].Buckets();
      program.buckets.resize(program.capacities.size());
      for (const PlannedExpert& expert : planned.programs[p].experts) {
        layer.residency[static_cast<size_t>(expert.expert)] = {expert.capacity,
                                                               static_cast<int>(p)};
      }
    }
  }
  for (const int layer : plan_.attention.layers) {
    attention_[layer].resize(plan_.attention.history_tokens.size());
  }
  head_.resize(plan_.head.rows.size());
}

size_t NpuExecutor::FunctionsOf(const ProgramId& id) {
  switch (id.kind) {
    case ProgramKind::kExperts:
      return experts_.at(id.layer).programs[static_cast<size_t>(id.index)].buckets.size();
    case ProgramKind::kAttention:
      return attention_.at(id.layer).size();
    case ProgramKind::kHead:
      return head_.size();
  }
  return 0;
}

void NpuExecutor::AddProgram(const ProgramId& id) {
  const auto loaded = LoadLargest(id);
  launches_.AddProgram(id, PlacementOf(plan_, id), loaded.status());
  if (loaded.ok()) CountLoaded(**loaded);
}

Result<LoadedFunction*> NpuExecutor::LoadLargest(const ProgramId& id) {
  NPUMOE_ASSIGN_OR_RETURN(const Lowered lowered, FindAndLower(id));
  return LoadFunction(id, FunctionsOf(id) - 1, lowered);
}

void NpuExecutor::CountLoaded(const LoadedFunction& largest) {
  launches_.PlacementOf(largest.id).weight_bytes = largest.program->weight_bytes();
  launches_.CountPlacement(largest);
}

void NpuExecutor::LoadSmaller(const ProgramId& id) {
  const size_t functions = FunctionsOf(id);
  if (functions == 1 || !launches_.InService(id)) return;
  const auto lowered = FindAndLower(id);
  NPUMOE_CHECK(lowered.ok());  // as it was for the largest function
  for (size_t size = 0; size + 1 < functions; ++size) {
    const auto loaded = LoadFunction(id, size, *lowered);
    if (loaded.ok()) {
      launches_.CountPlacement(**loaded);
    } else {
      launches_.Count(id, "load", loaded.status().message());
    }
  }
}

void NpuExecutor::BringBackAfterPause() {
  launches_.ReviveAfterPause();
  if (const std::optional<ProgramId> id = launches_.TakeProgramToLoad()) LoadAgain(*id);
}

void NpuExecutor::LoadAgain(const ProgramId& id) {
  if (launches_.IsDeviceLost() && !ReopenDevice().ok()) return;
  const auto loaded = LoadLargest(id);
  launches_.LoadedAgain(id, loaded.status());
  if (!loaded.ok()) return;
  CountLoaded(**loaded);
  LoadSmaller(id);
}

// Nothing of the lost device stays: its programs would take places of the new one.
Status NpuExecutor::ReopenDevice() {
  launches_.GiveUpBuffers();
  for (const ProgramId& id : ProgramsOf(plan_)) Unload(id);
  const Status reopened = device_.Reopen();
  launches_.DeviceReopened(reopened);
  return reopened;
}

void NpuExecutor::Unload(const ProgramId& id) {
  const auto unload = [](auto& functions) {
    for (auto& function : functions) function.reset();
  };
  switch (id.kind) {
    case ProgramKind::kExperts:
      return unload(experts_.at(id.layer).programs[static_cast<size_t>(id.index)].buckets);
    case ProgramKind::kAttention:
      return unload(attention_.at(id.layer));
    case ProgramKind::kHead:
      return unload(head_);
  }
}

Result<NpuExecutor::Lowered> NpuExecutor::FindAndLower(const ProgramId& id) const {
  const CompiledProgram* found = FindProgram(compiled_, id);
  if (found == nullptr) return NotFound("not compiled; run `npumoe compile` with this plan");
  if (const std::string key = ProgramKey(plan_, id); found->key != key) {
    return InvalidInput(fmt::format("{} has the key {}, this plan needs {}; compile this plan",
                                    found->package.string(), found->key, key));
  }
  NPUMOE_ASSIGN_OR_RETURN(std::vector<Graph> graphs,
                          LowerPlanned(plan_, model_->config, model_->weights, id));
  return Lowered{std::move(graphs), found};
}

Result<LoadedFunction*> NpuExecutor::LoadFunction(const ProgramId& id, size_t size,
                                                  const Lowered& lowered) {
  const Graph& graph = lowered.graphs[FunctionIndex(size, FunctionsOf(id))];
  auto loaded = device_.Load(lowered.package->package, graph.name);
  if (!loaded.ok()) {
    const bool corrupt = loaded.status().code() == StatusCode::kInvalidInput;
    return Status(
        loaded.status().code(),
        loaded.status().message() +
            (corrupt ? "; `npumoe compile` with this plan writes the package again" : ""));
  }
  auto kept = Keep(id, size, *std::move(loaded), graph);
  if (!kept.ok()) return kept.status().WithContext(lowered.package->package.string());
  return kept;
}

Result<LoadedFunction*> NpuExecutor::Keep(const ProgramId& id, size_t size,
                                          std::unique_ptr<Program> program, const Graph& graph) {
  const auto keep = [](auto bound, auto& place) -> Result<LoadedFunction*> {
    if (!bound.ok()) return bound.status();
    place = *std::move(bound);
    return &place->loaded();
  };
  switch (id.kind) {
    case ProgramKind::kExperts:
      return keep(
          ExpertFunction::Bind(std::move(program), graph,
                               AtBucket(ExpertProgramOf(plan_, id), size), plan_.hidden_size, id),
          experts_.at(id.layer).programs[static_cast<size_t>(id.index)].buckets[size]);
    case ProgramKind::kAttention:
      return keep(AttentionFunction::Bind(std::move(program), graph, id),
                  attention_.at(id.layer)[size]);
    case ProgramKind::kHead:
      return keep(HeadFunction::Bind(std::move(program), graph, id), head_[size]);
  }
  return InvalidInput("no such program");
}

template <class Visit>
void NpuExecutor::ForEachFunction(Visit visit) {
  const auto visit_all = [&](const auto& functions) {
    for (const auto& function : functions) {
      if (function != nullptr) visit(function->loaded());
    }
  };
  for (auto& [layer, experts] : experts_) {
    for (const ExpertProgram& program : experts.programs) visit_all(program.buckets);
  }
  for (auto& [layer, functions] : attention_) visit_all(functions);
  visit_all(head_);
}

// So that a device without memory shows at the start, and prefill allocates nothing. Launches of
// one layer are in flight together, those of different layers share buffers.
void NpuExecutor::PreallocateBuffers() {
  std::map<int, std::vector<Launch>> launches;
  ForEachFunction([&](LoadedFunction& function) {
    for (int i = 0; i < options_.chunks_in_flight; ++i) {
      launches[function.id.layer].emplace_back().function = &function;
    }
  });
  for (auto& [layer, of_layer] : launches) {
    for (Launch& launch : of_layer) launches_.AcquireBuffers(launch);
    for (Launch& launch : of_layer) launches_.Release(launch);
  }
}

std::span<const NpuExecutor::Residency> NpuExecutor::ResidencyOf(int layer) const {
  return experts_.at(layer).residency;
}

int NpuExecutor::ProgramCountOf(int layer) const {
  return static_cast<int>(experts_.at(layer).programs.size());
}

std::vector<ExpertFunction*> NpuExecutor::BucketsOf(int layer, int program) {
  std::vector<ExpertFunction*> loaded;
  if (!InService(layer, program)) return loaded;
  for (const auto& bucket : experts_.at(layer).programs[static_cast<size_t>(program)].buckets) {
    if (bucket != nullptr) loaded.push_back(bucket.get());
  }
  return loaded;
}

void NpuExecutor::AddOverflow(int layer, int expert, int64_t rows) {
  const int program = ResidencyOf(layer)[static_cast<size_t>(expert)].program;
  ProgramPlacement& placement = launches_.PlacementOf({ProgramKind::kExperts, layer, program});
  (overflow_ == OverflowMode::kSpill ? placement.spilled_rows : placement.dropped_rows) += rows;
}

AttentionFunction* NpuExecutor::AttentionFor(int layer, int64_t history, int64_t tokens) {
  if (!plan_.attention.Has(layer)) return nullptr;
  const ProgramId id{ProgramKind::kAttention, layer, 0};
  const std::optional<size_t> size = plan_.attention.FunctionFor(history);
  ProgramPlacement& placement = launches_.PlacementOf(id);
  if (!size) {
    placement.spilled_rows += tokens;
    return nullptr;
  }
  BringBackAfterPause();
  if (!launches_.InService(id)) {
    launches_.AddDegradedRows(id, tokens);
    return nullptr;
  }
  return LoadedFrom(attention_.at(layer), *size);
}

HeadFunction* NpuExecutor::HeadFor(int64_t rows) {
  if (head_.empty()) return nullptr;
  const ProgramId id{ProgramKind::kHead, 0, 0};
  BringBackAfterPause();
  if (!launches_.InService(id)) {
    launches_.AddDegradedRows(id, rows);
    return nullptr;
  }
  return LoadedFrom(head_, plan_.head.FunctionFor(rows));
}

}  // namespace npumoe
