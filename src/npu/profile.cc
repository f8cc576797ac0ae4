#include "npu/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <system_error>

#include "base/mapped_file.h"

namespace npumoe {
namespace {

constexpr size_t kMaxProfileBytes = size_t{1} << 20;  // chosen: a hundred times a real one
constexpr double kMsPerFlopAtTflops = 1e-9;           // 10^3 ms / 10^12 flop
constexpr double kMsPerFlopAtGflops = 1e-6;
constexpr double kMsPerByteAtGb = 1e-6;

bool IsProfileFile(const std::filesystem::directory_entry& entry) {
  std::error_code error;
  return entry.path().extension() == ".toml" && entry.is_regular_file(error);
}

Result<ChipProfile> ReadProfile(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxProfileBytes));
  Result<ChipProfile> profile = ParseChipProfile(text, path.string());
  if (profile.ok()) profile->name = path.stem().string();
  return profile;
}

Status UnknownProfile(const std::string& name, const std::vector<std::filesystem::path>& search) {
  std::string folders;
  for (const auto& folder : search) folders += (folders.empty() ? "" : ", ") + folder.string();
  const std::vector<std::string> known = ListChipProfiles(search);
  return NotFound(fmt::format("chip profile '{}' is not in {}; known: {}", name,
                              folders.empty() ? "any folder" : folders,
                              known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", "))));
}

}  // namespace

const char* Name(Provenance provenance) {
  switch (provenance) {
    case Provenance::kMeasured:
      return "measured";
    case Provenance::kDeclared:
      return "declared";
    case Provenance::kAssumed:
      return "assumed";
  }
  return "";
}

Overlap OverlapOf(const ChipProfile& profile) {
  return {std::max(1.0, profile.npu.slowdown_beside_cpu.value),
          std::max(1.0, profile.cpu.slowdown_beside_npu.value)};
}

GraphLimits LimitsOf(const ChipProfile& profile) {
  GraphLimits limits = profile.limits.graph;
  limits.max_axis = profile.limits.max_axis;
  limits.max_channels = profile.limits.max_channels;
  limits.max_rank = profile.limits.max_rank;
  limits.max_program_bytes = profile.limits.max_program_bytes;
  limits.max_weight_file_bytes = profile.limits.max_weight_file_bytes;
  limits.refused_ops = profile.limits.refused_ops;
  double tflops = 0;
  for (const RatePoint& point : profile.npu.tflops) tflops = std::max(tflops, point.rate.value);
  limits.launch_flops = profile.npu.launch_ms.value / kMsPerFlopAtTflops * tflops;
  return limits;
}

double RateAt(std::span<const RatePoint> points, double rows) {
  NPUMOE_CHECK(!points.empty());
  if (rows <= points.front().rows) return points.front().rate.value;
  for (size_t i = 1; i < points.size(); ++i) {
    if (rows > points[i].rows) continue;
    const RatePoint& a = points[i - 1];
    const RatePoint& b = points[i];
    const double part = (rows - a.rows) / (b.rows - a.rows);
    return a.rate.value + part * (b.rate.value - a.rate.value);
  }
  return points.back().rate.value;
}

Result<ChipProfile> LoadChipProfile(const std::string& name_or_path,
                                    const std::vector<std::filesystem::path>& search) {
  const std::filesystem::path path(name_or_path);
  if (path.extension() == ".toml") return ReadProfile(path);
  // A name is one plain component: "../x" must not leave the folders.
  if (!name_or_path.empty() && path == path.filename()) {
    for (const auto& folder : search) {
      const std::filesystem::path file = folder / (name_or_path + ".toml");
      std::error_code error;
      if (std::filesystem::is_regular_file(file, error)) return ReadProfile(file);
    }
  }
  return UnknownProfile(name_or_path, search);
}

std::vector<std::string> ListChipProfiles(const std::vector<std::filesystem::path>& search) {
  std::set<std::string> names;
  for (const auto& folder : search) {
    std::error_code error;
    for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
         it.increment(error)) {
      if (IsProfileFile(*it)) names.insert(it->path().stem().string());
    }
  }
  return {names.begin(), names.end()};
}

LaunchCost ModelLaunch(const NpuCosts& npu, std::span<const LaunchWork> works, double io_bytes) {
  LaunchCost cost;
  double arithmetic_bound_ms = 0;
  cost.overhead_ms = npu.launch_ms.value + npu.sync_ms.value;
  for (const LaunchWork& work : works) {
    const double compute_ms = work.flops * kMsPerFlopAtTflops / RateAt(npu.tflops, work.rows);
    const double stream_ms = work.weight_bytes * kMsPerByteAtGb / npu.stream_gb_per_s.value;
    cost.compute_ms += std::max(compute_ms, stream_ms);
    if (compute_ms > stream_ms) arithmetic_bound_ms += compute_ms;
  }
  cost.io_ms = io_bytes * kMsPerByteAtGb / npu.io_gb_per_s.value;
  const double other_ms = cost.total_ms() - arithmetic_bound_ms;
  const double idle_w = npu.idle_w.value;
  cost.energy_j = (arithmetic_bound_ms * (npu.compute_w.value - idle_w) +
                   other_ms * (npu.stream_w.value - idle_w)) *
                  1e-3;
  return cost;
}

double ModelCpuFfnMs(const CpuCosts& cpu, double rows, double flops, double weight_bytes) {
  const double compute_ms = flops * kMsPerFlopAtGflops / RateAt(cpu.gflops, rows);
  const double stream_ms = weight_bytes * kMsPerByteAtGb / cpu.bandwidth_gb_per_s.value;
  return std::max(compute_ms, stream_ms);
}

}  // namespace npumoe
