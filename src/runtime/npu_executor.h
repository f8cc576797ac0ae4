// NpuExecutor: a plan's programs, loaded on a device. Owns the loaded functions and their launches;
// what goes into a launch is decided by moe_dispatch, npu_attention and npu_head.
//
// Nothing that fails on the device changes an answer: a program that cannot be loaded leaves its
// work to the CPU, the rows of a launch that fails, misses its deadline or answers with NaN,
// infinity or other numbers than the CPU are computed again there; both are counted with their
// reason. What failed is tried once more after a pause.
//
// One thread at a time: sessions that share an executor take turns.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/model.h"
#include "npu/device.h"
#include "npu/profile.h"
#include "plan/cost_model.h"
#include "plan/plan.h"
#include "runtime/attention_function.h"
#include "runtime/expert_function.h"
#include "runtime/head_function.h"
#include "runtime/npu_launches.h"
#include "runtime/package_compiler.h"
#include "runtime/placement_report.h"

namespace npumoe {

enum class AllowLossy { kNo, kYes };

struct NpuExecutorOptions {
  std::optional<OverflowMode> overflow;      // none: as the plan says
  AllowLossy allow_lossy = AllowLossy::kNo;  // overflow mode "drop" is refused without it
  double timeout_ms = LaunchOptions().timeout_ms;
  int chunks_in_flight = 2;  // 1 or 2
  Verification verification = Verification::kOn;
  double retry_pause_ms = LaunchOptions().retry_pause_ms;
};

class NpuExecutor {
 public:
  // Loads `compiled`. Fails for a plan of another model or profile, for a lossy plan without leave,
  // for options out of range; not because programs are refused.
  static Result<std::unique_ptr<NpuExecutor>> Create(const Plan& plan, const ChipProfile& profile,
                                                     std::shared_ptr<const Model> model,
                                                     Device& device,
                                                     std::span<const CompiledProgram> compiled,
                                                     const NpuExecutorOptions& options);

  const Plan& plan() const { return plan_; }
  const CostModel& costs() const { return costs_; }
  const Model& model() const { return *model_; }
  OverflowMode overflow() const { return overflow_; }
  int chunks_in_flight() const { return options_.chunks_in_flight; }
  NpuLaunches& launches() { return launches_; }
  PlacementReport report() const { return launches_.report(); }

  // Takes programs back into service whose pause is over, and loads the first one of those that
  // have to be loaded again.
  void BringBackAfterPause();

  // Experts.
  struct Residency {
    int64_t capacity = 0;  // 0: CPU work by plan
    int program = 0;       // index in the layer's plan
  };
  // One per expert of an MoE layer.
  std::span<const Residency> ResidencyOf(int layer) const;
  int ProgramCountOf(int layer) const;  // planned, of experts
  bool InService(int layer, int program) const {
    return launches_.InService({ProgramKind::kExperts, layer, program});
  }
  // The smallest bucket of a program in service that holds `rows_of(i)` rows of its experts.
  template <class RowsOf>
  ExpertFunction* BucketFor(int layer, int program, RowsOf rows_of);
  // The loaded buckets of a program, ascending; none when it is not in service.
  std::vector<ExpertFunction*> BucketsOf(int layer, int program);
  // What the dispatch of one layer and chunk did, for the report.
  void AddCounts(const DispatchCounts& counts) { launches_.mutable_report().counts += counts; }
  void AddOverflow(int layer, int expert, int64_t rows);
  void AddDegradedRows(int layer, int program, int64_t rows) {
    launches_.AddDegradedRows({ProgramKind::kExperts, layer, program}, rows);
  }

  // The attention of `tokens` rows of a layer behind `history` cached tokens: the loaded function
  // with the shortest history that holds them; null where it is CPU work, by plan or because the
  // program is not in service, which is counted.
  AttentionFunction* AttentionFor(int layer, int64_t history, int64_t tokens);
  // The loaded function with the fewest rows that hold `rows`, else the largest; null likewise.
  HeadFunction* HeadFor(int64_t rows);

 private:
  // Functions ascending by size; null: refused. Without the last one none is used.
  template <class Function>
  using Functions = std::vector<std::unique_ptr<Function>>;
  struct ExpertProgram {
    Functions<ExpertFunction> buckets;
    std::vector<std::vector<int64_t>> capacities;  // of the buckets
  };
  struct ExpertLayer {
    std::vector<ExpertProgram> programs;
    std::vector<Residency> residency;  // [experts]
  };
  // The functions of a program as graphs, "main" first, and where its package lies.
  struct Lowered {
    std::vector<Graph> graphs;
    const CompiledProgram* package = nullptr;
  };

  NpuExecutor(const Plan& plan, const ChipProfile& profile, std::shared_ptr<const Model> model,
              Device& device, std::span<const CompiledProgram> compiled,
              const NpuExecutorOptions& options);
  void MakeRoom();
  void AddProgram(const ProgramId& id);
  void LoadAgain(const ProgramId& id);
  Status ReopenDevice();
  // All programs have their largest function first: a device with too few places for all must not
  // fill them with smaller ones.
  Result<LoadedFunction*> LoadLargest(const ProgramId& id);
  void LoadSmaller(const ProgramId& id);
  void CountLoaded(const LoadedFunction& largest);
  void Unload(const ProgramId& id);
  Result<Lowered> FindAndLower(const ProgramId& id) const;
  size_t FunctionsOf(const ProgramId& id);
  // Loads function `size`, counted from the smallest, and keeps it.
  Result<LoadedFunction*> LoadFunction(const ProgramId& id, size_t size, const Lowered& lowered);
  Result<LoadedFunction*> Keep(const ProgramId& id, size_t size, std::unique_ptr<Program> program,
                               const Graph& graph);
  void PreallocateBuffers();
  template <class Visit>
  void ForEachFunction(Visit visit);

  Plan plan_;
  std::shared_ptr<const Model> model_;
  Device& device_;
  const std::vector<CompiledProgram> compiled_;
  NpuExecutorOptions options_;
  OverflowMode overflow_;
  CostModel costs_;
  std::map<int, ExpertLayer> experts_;
  std::map<int, Functions<AttentionFunction>> attention_;
  Functions<HeadFunction> head_;
  NpuLaunches launches_;  // after the functions, so that launches and buffers go before them
};

template <class RowsOf>
ExpertFunction* NpuExecutor::BucketFor(int layer, int program, RowsOf rows_of) {
  const ExpertProgram& loaded = experts_.at(layer).programs[static_cast<size_t>(program)];
  size_t bucket = SmallestBucket(loaded.capacities, rows_of);
  while (loaded.buckets[bucket] == nullptr) ++bucket;  // refused: the next larger one
  return loaded.buckets[bucket].get();
}

}  // namespace npumoe
