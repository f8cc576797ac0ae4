#include "runtime/measure_launches.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "base/clock.h"
#include "runtime/repeated_times.h"

namespace npumoe {
namespace {

constexpr int kLeastRepetitions = 3;
constexpr double kFewRowsSaveShare = 0.1;  // chosen: above the noise of medians

struct Launched {
  LaunchReport report;
  double elapsed_ms = 0;  // from the call to its result
};

Result<Launched> LaunchOnce(Device& device, MeasuredProgram& program, double timeout_ms,
                            int rows = 0) {
  Stopwatch watch;
  NPUMOE_ASSIGN_OR_RETURN(const RequestId request, program.Submit(device, rows));
  const Result<LaunchReport> report = device.Wait(request, timeout_ms);
  if (!report.ok()) return report.status().WithContext(program.work().what);
  return Launched{*report, watch.ElapsedMs()};
}

class Rounds {
 public:
  Rounds(Device& device, const MeasuredPrograms& programs, const MeasureLimits& limits)
      : device_(device),
        programs_(programs),
        limits_(limits),
        times_(programs.programs.size()),
        order_(programs.programs.size()) {
    std::iota(order_.begin(), order_.end(), size_t{0});
  }

  Result<LaunchTimes> Run(const MeasureProgress& progress) {
    Stopwatch watch;
    NPUMOE_RETURN_IF_ERROR(Round(Kept::kNo));  // warm-up
    const int repetitions = modelled_ ? 1 : limits_.repetitions;
    for (int r = 0; r < repetitions; ++r) {
      const bool late = watch.ElapsedMs() > limits_.budget_ms;
      if (late && r >= kLeastRepetitions) break;
      NPUMOE_RETURN_IF_ERROR(Round(Kept::kYes));
      if (progress) progress(r + 1, repetitions);
    }
    LaunchTimes result;
    for (size_t i = 0; i < times_.size(); ++i) {
      result.shapes.push_back(programs_.programs[i]->work());
      result.shapes.back().time_ms = times_[i].Median();
      result.shapes.back().spread = times_[i].Spread();
    }
    result.modelled = modelled_;
    if (!modelled_) {
      result.sync_ms = std::max(0.0, sync_.Median());
      result.sync_spread = std::clamp(sync_.Spread(), 0.0, 1.0);
    }
    NPUMOE_ASSIGN_OR_RETURN(result.cost_follows_rows, FollowsRows());
    return result;
  }

 private:
  enum class Kept { kNo, kYes };

  Status Round(Kept kept) {
    std::ranges::shuffle(order_, random_);
    for (const size_t i : order_) {
      NPUMOE_ASSIGN_OR_RETURN(const Launched launched, LaunchOnce(device_, *programs_.programs[i],
                                                                  limits_.launch_timeout_ms));
      modelled_ = launched.report.modelled;
      if (kept == Kept::kNo) {
        if (modelled_) return OkStatus();  // nothing to warm up
        continue;
      }
      times_[i].Add(launched.report.time_ms);
      sync_.Add(launched.elapsed_ms - launched.report.time_ms);
    }
    return OkStatus();
  }

  // By the program with the most work.
  Result<bool> FollowsRows() {
    const auto largest = std::ranges::max_element(programs_.programs, {}, [](const auto& program) {
      return program->work().weights * program->work().rows;
    });
    if ((*largest)->work().weights == 0) return false;
    RepeatedTimes all, one;
    for (int r = 0; r < (modelled_ ? 1 : kLeastRepetitions); ++r) {
      for (const int rows : {0, 1}) {
        NPUMOE_ASSIGN_OR_RETURN(const Launched launched,
                                LaunchOnce(device_, **largest, limits_.launch_timeout_ms, rows));
        (rows == 0 ? all : one).Add(launched.report.time_ms);
      }
    }
    return one.Median() < (1 - kFewRowsSaveShare) * all.Median();
  }

  Device& device_;
  const MeasuredPrograms& programs_;
  const MeasureLimits& limits_;
  std::vector<RepeatedTimes> times_;  // [programs]
  std::vector<size_t> order_;         // of this round
  std::mt19937 random_{1};
  RepeatedTimes sync_;
  bool modelled_ = false;
};

}  // namespace

Result<LaunchTimes> MeasureLaunches(Device& device, const MeasuredPrograms& programs,
                                    const MeasureLimits& limits, const MeasureProgress& progress) {
  if (programs.programs.empty()) {
    return Unsupported(fmt::format(
        "the device takes none of the programs that a profile is measured with; the first: {}",
        programs.refused.empty() ? "there are none" : programs.refused.front()));
  }
  return Rounds(device, programs, limits).Run(progress);
}

}  // namespace npumoe
