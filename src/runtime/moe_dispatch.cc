#include "runtime/moe_dispatch.h"

#include <algorithm>
#include <atomic>

#include "runtime/cpu_experts.h"
#include "runtime/overflow.h"
#include "runtime/spot_check.h"

namespace npumoe {
namespace {

// The mutable list of one expert (drop mode reorders it).
std::span<int32_t> ListOf(ExpertLists& lists, size_t expert) {
  const auto begin = static_cast<size_t>(lists.offsets[expert]);
  const auto end = static_cast<size_t>(lists.offsets[expert + 1]);
  return std::span(lists.assignments).subspan(begin, end - begin);
}

void AddCpuWork(int expert, std::span<const int32_t> list, MoeState& moe) {
  moe.cpu_shares.push_back({expert, list});
  moe.counts.cpu_rows += static_cast<int64_t>(list.size());
}

// A resident expert with more assignments than its capacity.
void SplitOverflow(LayerContext& context, NpuExecutor& npu, int layer, ChunkRows& rows, int expert,
                   int64_t capacity, std::span<int32_t> list, MoeState& moe) {
  const auto overflow = static_cast<int64_t>(list.size()) - capacity;
  npu.AddOverflow(layer, expert, overflow);
  if (npu.overflow() == OverflowMode::kSpill) {
    moe.cpu_shares.push_back({expert, list.subspan(static_cast<size_t>(capacity))});
    moe.counts.spilled_rows += overflow;
    return;
  }
  if (moe.norms.empty()) {
    RowNorms(Rows(rows.ffn_input, rows.tokens, context.config.hidden_size), moe.norms,
             context.pool);
  }
  KeepMostSalient(list, capacity, context.config.moe.choices_per_token(), moe.weights, moe.norms);
  moe.counts.dropped_rows += overflow;
}

void SplitByCapacity(LayerContext& context, NpuExecutor* npu, int layer, ChunkRows& rows,
                     MoeState& moe) {
  for (int expert = 0; expert < context.config.moe.expert_count(); ++expert) {
    const auto e = static_cast<size_t>(expert);
    const std::span<int32_t> list = ListOf(moe.lists, e);
    if (list.empty()) continue;
    const NpuExecutor::Residency residency =
        npu == nullptr ? NpuExecutor::Residency{} : npu->ResidencyOf(layer)[e];
    const bool in_service = residency.capacity > 0 && npu->InService(layer, residency.program);
    if (!in_service) {
      AddCpuWork(expert, list, moe);
      if (residency.capacity > 0) {  // planned for the NPU
        npu->AddDegradedRows(layer, residency.program, static_cast<int64_t>(list.size()));
      }
    } else if (static_cast<int64_t>(list.size()) > residency.capacity) {
      SplitOverflow(context, *npu, layer, rows, expert, residency.capacity, list, moe);
    }
  }
}

// The assignments of each of the program's experts that fit its capacity.
void SetSlots(const PlannedProgram& planned, const ExpertLists& lists, ExpertLaunch& launch) {
  launch.slots.clear();
  for (const PlannedExpert& expert : planned.experts) {
    const auto list = lists.Of(expert.expert);
    launch.slots.push_back(list.first(std::min(list.size(), static_cast<size_t>(expert.capacity))));
  }
}

// One launch per program in service that has at least one token.
void BuildLaunches(NpuExecutor& npu, int layer, int chunk, MoeState& moe) {
  const int programs = npu.ProgramCountOf(layer);
  if (moe.launches.size() < static_cast<size_t>(programs)) {
    moe.launches.resize(static_cast<size_t>(programs));
  }
  for (int p = 0; p < programs; ++p) {
    if (!npu.InService(layer, p)) continue;
    ExpertLaunch& launch = moe.launches[moe.num_launches];
    SetSlots(ExpertProgramOf(npu.plan(), {ProgramKind::kExperts, layer, p}), moe.lists, launch);
    launch.function = npu.BucketFor(
        layer, p, [&](size_t slot) { return static_cast<int64_t>(launch.slots[slot].size()); });
    launch.launch.function = &launch.function->loaded();
    launch.launch.chunk = chunk;
    launch.launch.state = Launch::State::kGathered;
    launch.launch.capacity_rows = launch.function->planned().CapacityRows();
    launch.launch.filled_rows = launch.FilledRows();
    if (launch.FilledRows() > 0) ++moe.num_launches;
  }
}

void GatherAndSubmit(LayerContext& context, NpuExecutor& npu, int layer, ChunkRows& rows,
                     ExpertLaunch& launch) {
  if (!npu.launches().AcquireBuffers(launch.launch)) return;
  const Matrix input = Rows(rows.ffn_input, rows.tokens, context.config.hidden_size);
  {
    const CpuWork work(context.stages.gather_ms, context.timeline, rows.chunk, layer, "gather");
    for (size_t slot = 0; slot < launch.slots.size(); ++slot) {
      launch.function->Gather(static_cast<int>(slot), input, launch.slots[slot],
                              context.config.moe.choices_per_token(), launch.launch.inputs,
                              context.pool);
    }
    launch.function->RowsPerInput(launch.slots, launch.launch.rows);
  }
  npu.launches().Submit(launch.launch, *context.timeline);
}

// The rows of a failed launch become CPU work.
void AddFailedRows(NpuExecutor& npu, ExpertLaunch& launch, MoeState& moe) {
  launch.launch.state = Launch::State::kOnCpu;
  const ProgramId& id = launch.launch.function->id;
  npu.AddDegradedRows(id.layer, id.index, launch.FilledRows());
  const std::vector<PlannedExpert>& experts = launch.function->planned().experts;
  for (size_t slot = 0; slot < launch.slots.size(); ++slot) {
    if (launch.slots[slot].empty()) continue;
    AddCpuWork(experts[slot].expert, launch.slots[slot], moe);
  }
}

bool OutputIsFinite(LayerContext& context, const ExpertLaunch& launch) {
  std::atomic<bool> finite = true;
  context.pool.ParallelFor(static_cast<int64_t>(launch.slots.size()), [&](int64_t slot, int) {
    const auto rows = static_cast<int64_t>(launch.slots[static_cast<size_t>(slot)].size());
    if (!launch.function->IsFinite(static_cast<int>(slot), rows, launch.launch.outputs)) {
      finite = false;
    }
  });
  return finite;
}

void CheckOutput(LayerContext& context, NpuExecutor& npu, ConstMatrix ffn_input,
                 ExpertLaunch& launch) {
  NpuLaunches& launches = npu.launches();
  if (!OutputIsFinite(context, launch)) {
    launches.RejectOutput(launch.launch);
    return;
  }
  if (launches.RejectIfDistrusted(launch.launch)) return;
  const NpuLaunches::Checks checks = launches.NextChecks(launch.launch);
  if (checks.rows == 0) return;
  const SpotCheckInputs inputs{context, npu.plan(), ffn_input,
                               context.config.moe.choices_per_token()};
  const Draw draw{checks.rows, checks.seed, checks.every_row};
  const RowsChecked error = SpotCheck(inputs, launch, draw);
  launches.AddChecks(launch.launch, {checks.rows, error.relative, error.root_mean_square});
  if (!IsRight(inputs, launch, draw, error)) {
    launches.RejectNumbers(launch.launch, error.relative);
  }
}

void AwaitLaunches(LayerContext& context, NpuExecutor& npu, int layer, ChunkRows& rows,
                   MoeState& moe) {
  double end_ms = 0;
  for (size_t i = 0; i < moe.num_launches; ++i) {
    Launch& launch = moe.launches[i].launch;
    npu.launches().Await(launch, *context.timeline);
    if (launch.state == Launch::State::kDone) end_ms = std::max(end_ms, launch.end_ms);
  }
  context.timeline->WaitUntil(end_ms);
  const CpuWork work(context.stages.combine_ms, context.timeline, rows.chunk, layer,
                     "output check");
  const Matrix ffn_input = Rows(rows.ffn_input, rows.tokens, context.config.hidden_size);
  for (size_t i = 0; i < moe.num_launches; ++i) {
    ExpertLaunch& launch = moe.launches[i];
    if (launch.launch.state == Launch::State::kDone) CheckOutput(context, npu, ffn_input, launch);
  }
}

void PlaceOutputs(const ExpertLaunch& launch, MoeState& moe) {
  for (size_t slot = 0; slot < launch.slots.size(); ++slot) {
    const std::span<const int32_t> list = launch.slots[slot];
    for (size_t r = 0; r < list.size(); ++r) {
      moe.outputs[static_cast<size_t>(list[r])] = launch.function->OutputOf(
          static_cast<int>(slot), static_cast<int64_t>(r), launch.launch.outputs);
    }
  }
  moe.counts.launches += 1;
  moe.counts.capacity_rows += launch.launch.capacity_rows;
  moe.counts.filled_rows += launch.FilledRows();
}

void FinishCounts(LayerContext& context, NpuExecutor* npu, int layer, const ChunkRows& rows,
                  MoeState& moe) {
  if (npu != nullptr) {
    for (size_t i = 0; i < moe.num_launches; ++i) npu->launches().Release(moe.launches[i].launch);
    npu->AddCounts(moe.counts);
  }
  moe.num_launches = 0;
  if (context.observer != nullptr && context.timeline != nullptr) {
    context.observer->OnDispatch({layer, rows.chunk, moe.counts});
  }
}

}  // namespace

int64_t ExpertLaunch::FilledRows() const {
  int64_t filled = 0;
  for (const std::span<const int32_t> slot : slots) filled += static_cast<int64_t>(slot.size());
  return filled;
}

void StartExperts(LayerContext& context, NpuExecutor* npu, int layer, ChunkRows& rows,
                  MoeState& moe) {
  moe.counts = {};
  moe.cpu_shares.clear();
  moe.norms.clear();
  moe.outputs.assign(moe.ids.size(), OutputRow{});
  if (npu != nullptr) npu->BringBackAfterPause();
  SplitByCapacity(context, npu, layer, rows, moe);
  if (npu == nullptr) return;
  BuildLaunches(*npu, layer, rows.chunk, moe);
  for (size_t i = 0; i < moe.num_launches; ++i) {
    ExpertLaunch& launch = moe.launches[i];
    GatherAndSubmit(context, *npu, layer, rows, launch);
    if (launch.launch.state == Launch::State::kFailed) AddFailedRows(*npu, launch, moe);
  }
}

void RunCpuExperts(LayerContext& context, int layer, ChunkRows& rows, MoeState& moe) {
  RunShares(context, layer, rows, moe.cpu_outputs, moe);
}

bool LaunchesDone(LayerContext& context, NpuExecutor* npu, const MoeState& moe) {
  for (size_t i = 0; i < moe.num_launches; ++i) {
    if (!npu->launches().IsOver(moe.launches[i].launch, *context.timeline)) return false;
  }
  return true;
}

void CombineExperts(LayerContext& context, NpuExecutor* npu, int layer, ChunkRows& rows,
                    MoeState& moe) {
  if (moe.num_launches > 0) {
    moe.cpu_shares.clear();
    AwaitLaunches(context, *npu, layer, rows, moe);
    for (size_t i = 0; i < moe.num_launches; ++i) {
      ExpertLaunch& launch = moe.launches[i];
      if (launch.launch.state == Launch::State::kDone) {
        npu->launches().Accept(launch.launch);
        PlaceOutputs(launch, moe);
      }
      if (launch.launch.state == Launch::State::kFailed) AddFailedRows(*npu, launch, moe);
    }
    RunShares(context, layer, rows, moe.retry_outputs, moe);
  }
  {
    const CpuWork work(context.stages.combine_ms, context.timeline, rows.chunk, layer, "combine");
    CombineRows(moe.outputs, moe.weights, context.config.moe.choices_per_token(),
                Rows(rows.hidden, rows.tokens, context.config.hidden_size), context.pool);
  }
  FinishCounts(context, npu, layer, rows, moe);
}

}  // namespace npumoe
