// NpuExecutor: a plan's programs, loaded on a device. Owns programs, device buffers, launches in
// flight and their statistics; what goes into a launch is decided by moe_dispatch.
//
// Nothing that fails on the device changes an answer: a program that cannot be loaded leaves its
// experts to the CPU, the rows of a launch that fails, misses its deadline or answers with NaN or
// infinity are computed again on the CPU; both are counted with their reason.
//
// One thread at a time: sessions that share an executor take turns.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "model/model.h"
#include "npu/device.h"
#include "npu/profile.h"
#include "plan/cost_model.h"
#include "plan/plan.h"
#include "runtime/device_buffer_pool.h"
#include "runtime/npu_program.h"
#include "runtime/package_compiler.h"
#include "runtime/placement_report.h"

namespace npumoe {

enum class AllowLossy { kNo, kYes };
// kOff: outputs are only scanned for NaN and infinity (spot_check.h).
enum class Verification { kOff, kOn };

struct NpuExecutorOptions {
  std::optional<OverflowMode> overflow;      // none: as the plan says
  AllowLossy allow_lossy = AllowLossy::kNo;  // overflow mode "drop" is refused without it
  double timeout_ms = 60000;  // of one launch, wall time; chosen: far above any sane launch
  int chunks_in_flight = 2;   // 1 or 2
  Verification verification = Verification::kOn;
  // A program that went out of service after failures gets one more chance, so much later.
  // Chosen: longer than a driver's restart.
  double retry_pause_ms = 5000;
};

// Chosen: one bad answer may be the input's fault, three in a row are the program's.
inline constexpr int kFailuresBeforeRetirement = 3;

class PrefillTimeline;

// One launch from gather to release. `slots[g]` are the assignments of the program's g-th expert.
struct Launch {
  // kOnCpu: failed, and its rows have been given to the CPU.
  enum class State { kGathered, kSubmitted, kDone, kFailed, kOnCpu };
  enum class Purpose { kPrefill, kVerify };  // the report's figures are of prefills alone
  NpuProgram* program = nullptr;
  Purpose purpose = Purpose::kPrefill;
  int chunk = 0;
  std::vector<std::span<const int32_t>> slots;
  std::vector<int> rows;  // per input of the program
  std::vector<DeviceBuffer*> inputs;
  std::vector<DeviceBuffer*> outputs;
  State state = State::kGathered;
  Status failure;
  RequestId request = 0;
  double submitted_ms = 0;  // on the prefill's timeline
  double end_ms = 0;        // once done
  LaunchReport report;

  int64_t FilledRows() const;
};

class NpuExecutor {
 public:
  // Loads `compiled` in order. Fails for a plan of another model or profile, for a lossy plan
  // without leave, for options out of range; not because programs are refused.
  static Result<std::unique_ptr<NpuExecutor>> Create(const Plan& plan, const ChipProfile& profile,
                                                     std::shared_ptr<const Model> model,
                                                     Device& device,
                                                     std::span<const CompiledProgram> compiled,
                                                     const NpuExecutorOptions& options);
  ~NpuExecutor();

  const Plan& plan() const { return plan_; }
  const CostModel& costs() const { return costs_; }
  const Model& model() const { return *model_; }
  OverflowMode overflow() const { return overflow_; }
  int chunks_in_flight() const { return options_.chunks_in_flight; }

  struct Residency {
    int64_t capacity = 0;  // 0: CPU work by plan
    int program = 0;       // index in the layer's plan
    bool in_service = false;
  };
  // One per expert of an MoE layer.
  std::span<const Residency> ResidencyOf(int layer) const;
  // One per planned program of the layer; null where it is not in service.
  std::span<NpuProgram* const> ProgramsOf(int layer) const;
  // The smallest bucket of a program in service that holds `rows_of(i)` rows of its experts.
  template <class RowsOf>
  NpuProgram* BucketFor(int layer, int program, RowsOf rows_of);
  // The loaded buckets of a program, ascending; none when it is not in service.
  std::vector<NpuProgram*> BucketsOf(int layer, int program);

  // Gives the launch buffers. False: no memory; the launch is kFailed and counted.
  bool AcquireBuffers(Launch& launch);
  // On failure the launch is kFailed and counted. Waits for an earlier launch where the device
  // takes no more requests.
  void Submit(Launch& launch, PrefillTimeline& timeline);
  // Collects, in order, what has finished. Does not block, except on a device that models its
  // time: its answer is computed on the spot, off the timeline, so that it cannot disturb the CPU
  // work that is measured. Whether `launch` is over.
  bool Poll(const Launch& launch, PrefillTimeline& timeline);
  // Blocks until the launch is kDone or kFailed.
  void Await(const Launch& launch, PrefillTimeline& timeline);
  // A done launch whose output was not finite, or not what the CPU computes.
  void RejectOutput(Launch& launch);
  void RejectNumbers(Launch& launch, double error);
  // Rows of this launch that are to be checked against the CPU, and where they are drawn.
  struct Checks {
    int rows = 0;
    uint64_t seed = 0;
  };
  Checks NextChecks(const Launch& launch);
  bool IsFirst(const Launch& launch);  // of its bucket
  // Takes programs back into service whose pause is over.
  void ReviveAfterPause();
  // Hands the buffers back. The launch must be over.
  void Release(Launch& launch);
  // Waits for everything in flight (after a cancelled prefill).
  void Drain();

  // What the dispatch of one layer and chunk did, for the report.
  void AddCounts(const DispatchCounts& counts);
  void AddOverflow(int layer, int expert, int64_t rows);
  void AddDegradedRows(int layer, int program, int64_t rows);
  // Degradations since the last call, for the observer.
  std::vector<DegradationEvent> TakeEvents();
  PlacementReport report() const;

 private:
  struct ProgramState {
    // Null: refused. The last has the planned capacities; without it none is used.
    std::vector<std::unique_ptr<NpuProgram>> buckets;
    std::vector<std::vector<int64_t>> capacities;  // of the buckets
    size_t placement = 0;                          // index into report_.programs
    int failures_in_a_row = 0;
    std::set<const NpuProgram*> checked;  // buckets whose first launch passed
    std::optional<Stopwatch> retired;     // when, if it may come back
    bool had_second_chance = false;
  };
  struct LayerState {
    std::vector<ProgramState> programs;
    std::vector<NpuProgram*> in_service;  // null: refused or retired
    std::vector<Residency> residency;     // [experts]
  };
  // A launch whose deadline passed: its buffers stay with the device until it is done.
  struct Abandoned {
    RequestId request = 0;
    NpuProgram* program = nullptr;
    std::vector<DeviceBuffer*> buffers;
  };

  NpuExecutor(const Plan& plan, const ChipProfile& profile, std::shared_ptr<const Model> model,
              Device& device, const NpuExecutorOptions& options);
  // Loading (npu_executor.cc).
  void LoadLayer(const LayerPlan& layer, std::span<const CompiledProgram> compiled);
  // All programs with their planned capacities first: a device with too few places for all must
  // not fill them with smaller buckets.
  void LoadSmallerBuckets(const LayerPlan& layer, std::span<const CompiledProgram> compiled);
  // The functions of a program, "main" first, and where its package lies.
  struct Lowered {
    std::vector<Graph> functions;
    const CompiledProgram* package = nullptr;
  };
  Result<Lowered> FindAndLower(const LayerPlan& layer, int program,
                               std::span<const CompiledProgram> compiled) const;
  Result<std::unique_ptr<NpuProgram>> LoadBucket(const LayerPlan& layer, int program, size_t bucket,
                                                 const Lowered& lowered);
  void CountPlacement(NpuProgram& program, ProgramPlacement& placement);
  void PreallocateBuffers();
  // Launches (npu_executor_launch.cc).
  enum class Waiting { kPoll, kUntilDeadline };
  bool IsFull() const;
  void CollectFront(Waiting waiting, PrefillTimeline* timeline);
  void Fail(Launch& launch, const std::string& what, const Status& failure);
  void Abandon(Launch& launch);
  void ReclaimAbandoned(double timeout_ms);
  bool HasAbandoned(int layer, int program) const;
  // Bookkeeping of what degraded.
  void Count(ProgramPlacement& placement, const std::string& what, const std::string& reason);
  enum class Again { kNever, kOnceAfterPause };
  void Retire(int layer, int program, const std::string& reason, Again again);
  void RetireAll(const std::string& reason);
  ProgramState& StateOf(int layer, int program);
  ProgramPlacement& PlacementOf(int layer, int program);

  Plan plan_;
  std::shared_ptr<const Model> model_;
  Device& device_;
  NpuExecutorOptions options_;
  int64_t max_requests_in_flight_;
  OverflowMode overflow_;
  CostModel costs_;
  std::map<int, LayerState> layers_;
  DeviceBufferPool buffers_;       // after the programs, so that buffers go before them
  std::deque<Launch*> in_flight_;  // in order of submission: the device does one at a time
  std::vector<Abandoned> abandoned_;
  std::optional<TimeSource> time_source_;  // of the device; none before its first answer
  std::vector<DegradationEvent> events_;
  uint64_t launches_checked_ = 0;
  int64_t programs_on_pause_ = 0;
  PlacementReport report_;
};

template <class RowsOf>
NpuProgram* NpuExecutor::BucketFor(int layer, int program, RowsOf rows_of) {
  const ProgramState& state = StateOf(layer, program);
  size_t bucket = SmallestBucket(state.capacities, rows_of);
  while (state.buckets[bucket] == nullptr) ++bucket;  // refused: the next larger one
  return state.buckets[bucket].get();
}

}  // namespace npumoe
