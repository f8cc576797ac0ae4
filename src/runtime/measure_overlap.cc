#include "runtime/measure_overlap.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "runtime/expert_ring.h"
#include "runtime/repeated_times.h"

namespace npumoe {
namespace {

constexpr int64_t kCpuRows = 32;  // of an expert: a few milliseconds, as in prefills
constexpr int64_t kRingBytes = 200 << 20;
// Launches shorter than a few of the CPU's experts show nothing; with so many rows they are long
// enough, and with more they take the time for nothing.
constexpr double kLeastRows = 32;
constexpr double kMostRows = 512;

class OverlapRun {
 public:
  OverlapRun(Device& device, const MeasuredPrograms& programs, ThreadPool& pool, ExpertRing& ring,
             double timeout_ms)
      : device_(device), pool_(pool), ring_(ring), timeout_ms_(timeout_ms) {
    double most_weights = 0;
    for (const auto& program : programs.programs) {
      most_weights = std::max(most_weights, program->work().weights);
    }
    for (const auto& program : programs.programs) {
      const TimedWork& work = program->work();
      const bool fits = work.rows >= kLeastRows && work.rows <= kMostRows;
      if (fits && work.weights == most_weights) programs_.push_back(program.get());
    }
  }

  Status Round() {
    MeasureCpuAlone();
    for (MeasuredProgram* program : programs_) {
      NPUMOE_ASSIGN_OR_RETURN(const double alone_ms, Alone(*program));
      NPUMOE_ASSIGN_OR_RETURN(const double beside_ms, Beside(*program));
      npu_.Add(beside_ms / alone_ms);
    }
    return OkStatus();
  }

  OverlapFactors Factors() const {
    OverlapFactors factors;
    if (npu_.empty() || cpu_beside_.empty()) return factors;
    factors.npu = {std::max(1.0, npu_.Median()), std::min(1.0, npu_.Spread())};
    // Means: where both share a core in turns, few experts take much longer and most do not.
    factors.cpu = {std::max(1.0, cpu_beside_.Mean() / cpu_alone_.Mean()),
                   std::min(1.0, cpu_beside_.Spread() + cpu_alone_.Spread())};
    return factors;
  }

 private:
  double CpuUnitMs() { return ring_.MeasureMs(kCpuRows, 1, pool_); }

  // After a launch, threads of a run time spin for a while before they sleep.
  void MeasureCpuAlone() {
    constexpr std::chrono::milliseconds kPause(500);  // OpenMP's spin 200 ms by default
    constexpr double kMeasuredMs = 200;
    std::this_thread::sleep_for(kPause);
    Stopwatch watch;
    while (watch.ElapsedMs() < kMeasuredMs) cpu_alone_.Add(CpuUnitMs());
  }

  Result<double> Alone(MeasuredProgram& program) {
    NPUMOE_ASSIGN_OR_RETURN(const RequestId request, program.Submit(device_));
    NPUMOE_ASSIGN_OR_RETURN(const LaunchReport report, device_.Wait(request, timeout_ms_));
    return report.time_ms;
  }

  Result<double> Beside(MeasuredProgram& program) {
    NPUMOE_ASSIGN_OR_RETURN(const RequestId request, program.Submit(device_));
    Stopwatch watch;
    while (watch.ElapsedMs() < timeout_ms_) {
      const double unit_ms = CpuUnitMs();
      const Result<LaunchReport> report = device_.Wait(request, 0);
      if (report.ok()) return report->time_ms;
      if (report.status().code() != StatusCode::kDeadlineExceeded) return report.status();
      cpu_beside_.Add(unit_ms);
    }
    NPUMOE_ASSIGN_OR_RETURN(const LaunchReport report, device_.Wait(request, timeout_ms_));
    return report.time_ms;
  }

  Device& device_;
  ThreadPool& pool_;
  ExpertRing& ring_;
  double timeout_ms_;
  std::vector<MeasuredProgram*> programs_;
  RepeatedTimes npu_;  // ratios
  RepeatedTimes cpu_alone_, cpu_beside_;
};

}  // namespace

Result<OverlapFactors> MeasureOverlap(Device& device, const MeasuredPrograms& programs,
                                      const ExpertShape& shape, DType weights, ThreadPool& pool,
                                      const MeasureLimits& limits) {
  constexpr int kRounds = 3;
  try {
    ExpertRing ring(shape, weights, kRingBytes);
    OverlapRun run(device, programs, pool, ring, limits.launch_timeout_ms);
    for (int r = 0; r < std::min(kRounds, limits.repetitions); ++r) {
      NPUMOE_RETURN_IF_ERROR(run.Round());
    }
    return run.Factors();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory for the experts that the CPU works on beside launches");
  }
}

}  // namespace npumoe
