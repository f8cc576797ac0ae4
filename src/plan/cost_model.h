// CostModel: modelled time and energy of everything one prefill chunk does, from a ModelConfig
// and a ChipProfile (planning.md section 2). The planner minimises it, the simulator replays
// with it, the run time asks it where a last partial chunk is cheaper.
#pragma once

#include <cstdint>
#include <span>

#include "model/config.h"
#include "npu/profile.h"
#include "plan/plan.h"

namespace npumoe {

// Bytes that the CPU moves per element of a row. Gather for the NPU reads fp32 and writes fp16;
// combine reads fp16 twice, the first time to look for NaN and infinity, and reads and writes the
// fp32 residual. For CPU experts all is fp32.
inline constexpr double kGatherBytes = 4 + 2;
inline constexpr double kCombineBytes = 2 * 2 + 2 * 4;
inline constexpr double kCpuExpertMoveBytes = 2 * 4 + 3 * 4;

// How programs store their matrices.
struct ProgramFormats {
  WeightFormat experts = WeightFormat::kF16;
  WeightFormat dense = WeightFormat::kF16;  // of attention and head
};

class CostModel {
 public:
  // `weight_bytes_cpu`: bytes per weight on the CPU (2 for BF16).
  CostModel(const ModelConfig& config, const ChipProfile& profile, double weight_bytes_cpu,
            const ProgramFormats& formats = {});

  // One launch of a program. `rows[i]` rows of expert i are filled (for cost_follows_rows).
  LaunchCost Launch(const PlannedProgram& program, std::span<const int64_t> rows) const;
  // The same with the capacities of a bucket.
  LaunchCost Launch(const PlannedProgram& program, std::span<const int64_t> capacities,
                    std::span<const int64_t> rows) const;
  LaunchCost LaunchAtCapacity(const PlannedProgram& program) const;
  // One routed expert of `capacity` inside a launch, without launch and sync.
  double NpuExpertMs(int64_t capacity) const;
  // `rows` rows of one routed expert on the CPU, gather and combine included; 0 for no rows.
  double CpuExpertMs(int64_t rows) const { return CpuExpertMs(0, rows); }
  // The same of any expert: the shared one has another size.
  double CpuExpertMs(int expert, int64_t rows) const;
  // Gather into and combine out of NPU buffers, for `assignments` rows; linear in them.
  double GatherMs(int64_t assignments) const;
  double CombineMs(int64_t assignments) const;
  double DispatchMs(int64_t assignments) const;  // both
  // The row of a launch that the CPU computes, too, of one of its experts. (Verification is on
  // unless somebody asks for less.)
  double SpotCheckMs(int expert) const { return CpuExpertMs(expert, 1); }
  // Norms, attention with `history` earlier tokens, router of one layer over `tokens`; the mean of
  // the layers where only some have a window.
  double AttentionAndRouterMs(int64_t tokens, int64_t history) const;
  double DenseFfnMs(int64_t tokens) const;
  double HeadMs() const;  // last row's logits
  // Power of each active engine times its busy time, plus idle power times the elapsed time.
  double EnergyJ(double elapsed_ms, double cpu_busy_ms, double npu_energy_j) const;
  int64_t ExpertProgramBytes(int expert) const;  // weights of one expert in a program

  const ChipProfile& profile() const { return profile_; }
  const ModelConfig& config() const { return config_; }
  double weight_bytes_cpu() const { return weight_bytes_cpu_; }
  const ProgramFormats& formats() const { return formats_; }

 private:
  double WeightsOf(int expert) const;
  // Keys and values of all heads from the cached rows; nothing without latent attention.
  double ExpandLatentMs(double cached_tokens) const;

  ModelConfig config_;
  ChipProfile profile_;
  double weight_bytes_cpu_;
  ProgramFormats formats_;
};

}  // namespace npumoe
