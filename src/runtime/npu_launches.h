// NpuLaunches: launches of loaded functions on one device, from buffers to release, and what became
// of the programs: which are in service, what degraded and why.
//
// A program that fails leaves service and comes back once after a pause; the caller computes on the
// CPU what a launch that is kFailed was to compute.
//
// One thread at a time.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "npu/device.h"
#include "runtime/device_buffer_pool.h"
#include "runtime/loaded_function.h"
#include "runtime/observer.h"
#include "runtime/placement_report.h"

namespace npumoe {

class PrefillTimeline;

// Chosen: one bad answer may be the input's fault, three in a row are the program's.
inline constexpr int kFailuresBeforeRetirement = 3;
// Of a program that comes back after its numbers were wrong every row is checked until so many were
// right: one that spoils a tenth of its rows gets through with a probability of 2e-12.
inline constexpr int64_t kRowsOnProbation = 256;

// kOff: outputs are only scanned for NaN and infinity (spot_check.h). kEveryRow: tests leave
// nothing to chance.
enum class Verification { kOff, kOn, kEveryRow };

struct LaunchOptions {
  double timeout_ms = 60000;  // of one launch, wall time; chosen: far above any sane launch
  Verification verification = Verification::kOn;
  // A program that went out of service gets one more chance, so much later.
  // Chosen: longer than a driver's restart.
  double retry_pause_ms = 5000;
  int64_t max_requests_in_flight = 0;  // of the device; 0: any number
};

// One launch from gather to release. Not moved while it is submitted.
struct Launch {
  // kOnCpu: failed, and its rows have been given to the CPU.
  enum class State { kGathered, kSubmitted, kDone, kFailed, kOnCpu };
  enum class Purpose { kPrefill, kVerify };  // the report's figures are of prefills alone
  LoadedFunction* function = nullptr;
  Purpose purpose = Purpose::kPrefill;
  int chunk = 0;
  int64_t capacity_rows = 0;
  int64_t filled_rows = 0;
  std::vector<int> rows;  // filled, per input of the program; empty: all
  std::vector<DeviceBuffer*> inputs;
  std::vector<DeviceBuffer*> outputs;
  State state = State::kGathered;
  Status failure;
  RequestId request = 0;
  double submitted_ms = 0;  // on the prefill's timeline
  double end_ms = 0;        // once done
  LaunchReport report;
};

class NpuLaunches {
 public:
  NpuLaunches(Device& device, const LaunchOptions& options);
  ~NpuLaunches();

  // Before a program's launches. `load`: what became of it; a failure is counted.
  void AddProgram(const ProgramId& id, ProgramPlacement placement, const Status& load);
  bool InService(const ProgramId& id) const;
  // A function that runs elsewhere than on the device is right, and slower than planned: it stays,
  // and is counted.
  void CountPlacement(const LoadedFunction& function);

  // Gives the launch buffers. False: no memory; the launch is kFailed and counted.
  bool AcquireBuffers(Launch& launch);
  // On failure the launch is kFailed and counted. Waits for an earlier launch where the device
  // takes no more requests.
  void Submit(Launch& launch, PrefillTimeline& timeline);
  // Collects, in order, what has finished. Does not block, except on a device that models its
  // time: its answer is computed on the spot, off the timeline, so that it cannot disturb the CPU
  // work that is measured. Whether `launch` is over.
  bool Poll(const Launch& launch, PrefillTimeline& timeline);
  // Whether the launch is over on the timeline, too: a modelled device has its answer early.
  bool IsOver(const Launch& launch, PrefillTimeline& timeline);
  // Blocks until the launch is kDone or kFailed.
  void Await(const Launch& launch, PrefillTimeline& timeline);
  // A done launch whose output was not finite, or not what the CPU computes.
  void RejectOutput(Launch& launch);
  void RejectNumbers(Launch& launch, double error);
  // A done launch of a program whose numbers were wrong in another launch.
  bool RejectIfDistrusted(Launch& launch);
  // For the report.
  void AddChecks(const Launch& launch, const ChecksReport& checks);
  // Rows of this launch that are to be checked against the CPU, and where they are drawn.
  struct Checks {
    int rows = 0;
    uint64_t seed = 0;
    bool every_row = false;  // instead of drawn ones
  };
  Checks NextChecks(const Launch& launch);
  bool IsFirst(const Launch& launch) const;  // of its function
  // Takes programs back into service whose pause is over.
  void ReviveAfterPause();
  // One whose pause is over and which has to be loaded again, for its last chance: the caller loads
  // it and says what became of it. Of a lost device only when no launch is left.
  std::optional<ProgramId> TakeProgramToLoad();
  void LoadedAgain(const ProgramId& id, const Status& load);
  // The device is lost: before anything is loaded it must be opened again, and before that give up
  // its buffers and programs.
  bool IsDeviceLost() const { return is_device_lost_; }
  void GiveUpBuffers();
  // Whether opening did it; if not, its programs stay out of service for good.
  void DeviceReopened(const Status& reopened);
  // A done launch whose answer is used. Before Release.
  void Accept(const Launch& launch);
  // Hands the buffers back. The launch must be over.
  void Release(Launch& launch);
  // Waits for everything in flight (after a cancelled prefill).
  void Drain();

  // Bookkeeping of what degraded.
  void Count(const ProgramId& id, const std::string& what, const std::string& reason);
  ProgramPlacement& PlacementOf(const ProgramId& id);
  // Rows planned for the program that the CPU computed.
  void AddDegradedRows(const ProgramId& id, int64_t rows);
  // Degradations since the last call, for the observer.
  std::vector<DegradationEvent> TakeEvents();
  // Whoever uses the programs adds what the launches do not know: counts of rows.
  PlacementReport& mutable_report() { return report_; }
  PlacementReport report() const;

 private:
  enum class Again { kNever, kAsItIs, kLoadedAnew };  // once, after a pause
  struct Pause {
    Stopwatch since;
    Again again = Again::kAsItIs;
  };
  struct Service {         // of one program
    size_t placement = 0;  // index into report_.programs
    int failures_in_a_row = 0;
    std::set<const LoadedFunction*> checked;  // whose first launch passed
    std::set<const Launch*> launches;         // that have buffers
    std::optional<Pause> pause;               // since it left service, if it may come back
    bool had_second_chance = false;
    bool is_distrusted = false;     // its numbers were wrong, and it has not come back
    int64_t rows_on_probation = 0;  // still to come
  };
  // A launch whose deadline passed: its buffers stay with the device until it is done.
  struct Abandoned {
    RequestId request = 0;
    LoadedFunction* function = nullptr;
    std::vector<DeviceBuffer*> buffers;
  };
  enum class Waiting { kPoll, kUntilDeadline };

  Service& ServiceOf(const ProgramId& id);
  const Service& ServiceOf(const ProgramId& id) const;
  bool IsFull() const;
  void CollectFront(Waiting waiting, PrefillTimeline* timeline);
  void Fail(Launch& launch, const std::string& what, const Status& failure);
  void Abandon(Launch& launch);
  void ReclaimAbandoned();
  void LeakAbandoned();
  bool IsBusy(const ProgramId& id) const;
  bool IsAnyBusy() const;
  void Retire(const ProgramId& id, const std::string& reason, Again again);
  void RetireAll(const std::string& reason, Again again);
  bool IsPauseOver(Service& service);
  void EndPause(Service& service);
  void TakeBack(Service& service);

  Device& device_;
  const LaunchOptions options_;
  std::map<ProgramId, Service> services_;
  DeviceBufferPool buffers_;
  std::deque<Launch*> in_flight_;  // in order of submission: the device does one at a time
  std::vector<Abandoned> abandoned_;
  std::optional<TimeSource> time_source_;  // of the device; none before its first answer
  std::vector<DegradationEvent> events_;
  uint64_t launches_checked_ = 0;
  int deadlines_in_a_row_ = 0;  // of any programs
  bool is_device_lost_ = false;
  int64_t programs_on_pause_ = 0;
  PlacementReport report_;
};

}  // namespace npumoe
