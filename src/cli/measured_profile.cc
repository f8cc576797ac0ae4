#include "cli/measured_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "npu/profile_write.h"

namespace npumoe::cli {
namespace {

constexpr double kGflopsPerTflops = 1e3;
constexpr double kMsBytesPerGb = 1e-6;  // bytes / ms -> 10^9 bytes / s
// What of a copy's time could be inputs and outputs without showing (chosen: the noise of medians).
constexpr double kUnseenShare = 0.01;

// All figures of one side have the same source.
class Entries {
 public:
  Entries(std::vector<FigureOrigin>& entries, Provenance provenance, std::string source)
      : entries_(entries), provenance_(provenance), source_(std::move(source)) {}

  void Set(const std::string& key, const FittedFigure& fitted) {
    ReplaceEntries(entries_, key, {EntryOf(key, Make(fitted))});
  }
  void SetRates(const std::string& key, const CostFit& fit, double gflops_per_unit) {
    std::vector<RatePoint> points;
    for (const auto& [rows, rate] : fit.gflops) {
      points.push_back({rows, Make({rate.value / gflops_per_unit, rate.spread})});
    }
    ReplaceEntries(entries_, key, EntriesOf(key, points));
  }
  void SetFlag(const std::string& key, bool value) {
    const std::string text = value ? "true" : "false";
    ReplaceEntries(entries_, key, {{key, text, provenance_, 0, source_, text, 0}});
  }

 private:
  Figure Make(const FittedFigure& fitted) const {
    return {fitted.value, provenance_, fitted.spread, source_};
  }

  std::vector<FigureOrigin>& entries_;
  Provenance provenance_;
  std::string source_;
};

std::string Errors(const CostFit& fit) {
  return fmt::format("error of the fit: median {:.1f}%, worst {:.1f}%", 100 * fit.error,
                     100 * fit.worst_error);
}

FittedFigure Bandwidth(const TimedWork& copy) {
  return {copy.io_bytes / copy.time_ms * kMsBytesPerGb, std::min(1.0, copy.spread)};
}

// Copies that are too fast to be seen: a bandwidth that is at least reached.
FittedFigure UnseenBandwidth(const LaunchTimes& times) {
  const auto largest = std::ranges::max_element(times.shapes, {}, &TimedWork::io_bytes);
  return {largest->io_bytes / (kUnseenShare * largest->time_ms) * kMsBytesPerGb, 1};
}

void SetNpu(const MeasuredNpu& npu, const ProfileOrigin& origin,
            std::vector<FigureOrigin>& entries) {
  const bool modelled = npu.times.modelled;
  const std::string how =
      modelled ? "modelled by the device itself, not measured: " : "launches timed by ";
  const std::string source =
      fmt::format("{}{}; {}; {}", how, origin.command, origin.device, Errors(npu.fit));
  const Provenance provenance = modelled ? Provenance::kAssumed : Provenance::kMeasured;
  Entries set(entries, provenance, source);
  set.Set("npu.launch_ms", npu.fit.overhead_ms);
  set.SetRates("npu.tflops", npu.fit, kGflopsPerTflops);
  set.Set("npu.stream_gb_per_s", npu.fit.stream_gb_per_s);
  set.SetFlag("npu.cost_follows_rows", npu.times.cost_follows_rows);
  if (npu.overlap) {
    set.Set("npu.slowdown_beside_cpu", npu.overlap->npu);
    set.Set("cpu.slowdown_beside_npu", npu.overlap->cpu);
  }
  if (npu.fit.io_gb_per_s) {
    set.Set("npu.io_gb_per_s", *npu.fit.io_gb_per_s);
  } else {
    Entries(entries, Provenance::kAssumed,
            "inputs and outputs do not show in the times: at least "
            "this much; " +
                source)
        .Set("npu.io_gb_per_s", UnseenBandwidth(npu.times));
  }
  if (modelled) {
    Entries(entries, Provenance::kAssumed, "contained in launch_ms").Set("npu.sync_ms", {0, 0});
  } else {
    set.Set("npu.sync_ms", {npu.times.sync_ms, npu.times.sync_spread});
  }
}

void SetCpu(const MeasuredCpu& cpu, const ProfileOrigin& origin,
            std::vector<FigureOrigin>& entries) {
  const std::string source = fmt::format("kernels timed by {}; {}; {}", origin.command,
                                         origin.processor, Errors(cpu.experts));
  Entries set(entries, Provenance::kMeasured, source);
  set.SetRates("cpu.gflops", cpu.experts, 1);
  set.Set("cpu.bandwidth_gb_per_s", cpu.experts.stream_gb_per_s);
  set.Set("cpu.copy_gb_per_s", Bandwidth(cpu.times.copies.rows));
  set.Set("cpu.gather_gb_per_s", Bandwidth(cpu.times.copies.gather));
  set.Set("cpu.combine_gb_per_s", Bandwidth(cpu.times.copies.combine));
  Entries declared(entries, Provenance::kDeclared, "threads that were timed: " + origin.command);
  declared.Set("cpu.threads", {static_cast<double>(cpu.threads), 0});
  const auto bytes = fmt::format("{:.0f}", origin.memory_bytes);
  ReplaceEntries(entries, "memory_bytes",
                 {{"memory_bytes", bytes, Provenance::kDeclared, 0, "the system", bytes, 0}});
}

// What another chip's file says is no measurement of this one.
void MarkAsTakenOver(const std::string& base, std::vector<FigureOrigin>& entries) {
  for (FigureOrigin& entry : entries) {
    if (entry.provenance == Provenance::kMeasured) entry.provenance = Provenance::kAssumed;
    entry.source = fmt::format("not measured, of {}: {}", base, entry.source);
  }
}

}  // namespace

Result<MeasuredNpu> FitNpu(LaunchTimes times, std::optional<OverlapFactors> overlap) {
  MeasuredNpu npu{std::move(times), {}, overlap};
  NPUMOE_ASSIGN_OR_RETURN(npu.fit, FitCosts(npu.times.shapes, Overhead::kFitted));
  return npu;
}

Result<MeasuredCpu> FitCpu(CpuTimes times, int threads) {
  MeasuredCpu cpu{std::move(times), {}, threads};
  NPUMOE_ASSIGN_OR_RETURN(cpu.experts, FitCosts(cpu.times.experts, Overhead::kNone));
  return cpu;
}

Result<ChipProfile> MakeMeasuredProfile(const ChipProfile& base, const MeasuredNpu& npu,
                                        const std::optional<MeasuredCpu>& cpu,
                                        const ProfileOrigin& origin, const std::string& name) {
  std::vector<FigureOrigin> entries = base.origins;
  MarkAsTakenOver(base.name, entries);
  SetNpu(npu, origin, entries);
  if (cpu) SetCpu(*cpu, origin, entries);
  const std::string text = WriteChipProfile(origin.description, origin.description, entries);
  return ParseChipProfile(text, name);
}

}  // namespace npumoe::cli
