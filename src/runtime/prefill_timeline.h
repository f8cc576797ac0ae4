// PrefillTimeline: one timeline from two clocks. CPU work is put down with its measured duration,
// back to back; launches with the time that the device reports, on an engine that does one at a
// time in order of submission. Time spent waiting for an emulator to compute never counts.
#pragma once

#include <string>

#include "base/clock.h"
#include "npu/device.h"
#include "plan/plan.h"
#include "plan/timeline.h"

namespace npumoe {

class PrefillTimeline {
 public:
  double now_ms() const { return now_ms_; }  // when the CPU is free
  void AddCpuWork(int chunk, int layer, const char* what, double duration_ms);
  // Returns the end of a launch that was submitted at `submitted_ms`.
  double AddLaunch(int chunk, const ProgramId& program, double submitted_ms,
                   const LaunchReport& report);
  double npu_energy_j() const { return npu_energy_j_; }  // of all launches
  // The CPU waits until `end_ms`.
  void WaitUntil(double end_ms);
  Timeline Take() { return std::move(timeline_); }

 private:
  double now_ms_ = 0;
  double npu_free_ms_ = 0;
  double npu_energy_j_ = 0;
  Timeline timeline_;
};

// Measures the CPU work of its scope into a total and, where there is one, a timeline.
class CpuWork {
 public:
  CpuWork(double& total_ms, PrefillTimeline* timeline, int chunk, int layer, const char* what)
      : total_ms_(total_ms), timeline_(timeline), chunk_(chunk), layer_(layer), what_(what) {}
  ~CpuWork() {
    const double elapsed_ms = watch_.ElapsedMs();
    total_ms_ += elapsed_ms;
    if (timeline_ != nullptr) timeline_->AddCpuWork(chunk_, layer_, what_, elapsed_ms);
  }
  CpuWork(const CpuWork&) = delete;
  CpuWork& operator=(const CpuWork&) = delete;

 private:
  double& total_ms_;
  PrefillTimeline* timeline_;
  int chunk_;
  int layer_;
  const char* what_;
  Stopwatch watch_;
};

}  // namespace npumoe
