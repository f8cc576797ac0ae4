// A chip profile from measured times: the fits of both sides, and the profile's text, in which
// every figure says how it was measured; what cannot be measured is a base profile's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/profile.h"
#include "npu/profile_fit.h"
#include "runtime/measure_cpu.h"
#include "runtime/measure_launches.h"
#include "runtime/measure_overlap.h"

namespace npumoe::cli {

struct MeasuredNpu {
  LaunchTimes times;
  CostFit fit;
  std::optional<OverlapFactors> overlap;  // none: the device models its time
};
struct MeasuredCpu {
  CpuTimes times;
  CostFit experts;
  int threads = 0;
};
Result<MeasuredNpu> FitNpu(LaunchTimes times, std::optional<OverlapFactors> overlap);
Result<MeasuredCpu> FitCpu(CpuTimes times, int threads);

struct ProfileOrigin {
  std::string description;  // of the profile
  std::string command;      // what was called: part of every figure's source
  std::string device;       // as it describes itself
  std::string processor;
  double memory_bytes = 0;
};
// Parsed as a file is, so that what is written can be read. Without `cpu` the base's figures stay.
Result<ChipProfile> MakeMeasuredProfile(const ChipProfile& base, const MeasuredNpu& npu,
                                        const std::optional<MeasuredCpu>& cpu,
                                        const ProfileOrigin& origin, const std::string& name);

}  // namespace npumoe::cli
