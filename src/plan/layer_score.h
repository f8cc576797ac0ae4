// LayerScore: what one MoE layer costs under given capacities, judged on sample chunks
// (planning.md section 3). Shared by the multiplier sweep, the local search and the exact search.
//
//   elapsed_k = overlapped * max(N, B + D_k + C_k) + (1 - overlapped) * (B + D_k + max(N, C_k))
//
// with N = programs * launch + sum n_e(c_e); for sample chunk k: C_k = sum of what the CPU computes
// of non-resident experts and overflow, D_k = gather and combine for NPU rows and a spot check of
// each program, B = attention and router. `overlapped` is the share of chunks that have a partner
// in flight. Fixed work adds to N, C_k and D_k.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/cost_model.h"

namespace npumoe {

// Costs that depend on rows alone: one table for all layers and experts of a chunk length.
struct RowCosts {
  int64_t quantum = 16;
  double launch_ms = 0;  // launch + sync of one program
  double launch_j = 0;
  double dispatch_ms_per_row = 0;
  double spot_check_ms = 0;    // of one launch, on the CPU
  Overlap overlap;             // of NPU and CPU
  std::vector<double> npu_ms;  // [level]: one expert of capacity level * quantum
  std::vector<double> npu_j;   // [level]
  std::vector<double> cpu_ms;  // [rows], 0 .. chunk_tokens
};
RowCosts TabulateRowCosts(const CostModel& costs, int64_t chunk_tokens);

// What every chunk of a layer costs whatever the capacities (the shared expert).
struct FixedWork {
  double npu_ms = 0;  // launch and sync included
  double npu_j = 0;
  double cpu_ms = 0;
  double npu_rows = 0;  // gathered and combined
};

// Linear combination that is minimised, per layer and chunk.
struct ScoreWeights {
  double elapsed = 1;      // per ms
  double cpu_busy = 0;     // per ms
  double npu_energy = 0;   // per J
  double overlapped = 1;   // share of the chunks, see above
  double cpu_base_ms = 0;  // B
  double row_reward = 0;   // taken off per assignment computed on the NPU
  FixedWork fixed = {};
};

// Loads of one layer: [experts, samples], and which experts may run on the NPU.
struct LayerLoads {
  int experts = 0;
  int samples = 0;
  std::vector<int32_t> loads;
  std::vector<bool> eligible;

  std::span<const int32_t> Of(int expert) const {
    return std::span(loads).subspan(static_cast<size_t>(expert) * static_cast<size_t>(samples),
                                    static_cast<size_t>(samples));
  }
};

// A level is a capacity in quanta; level 0 is CPU work.
class LayerProblem {
 public:
  static constexpr size_t kSmallProblem = 96;  // chosen: 8 experts of up to 12 levels
  LayerProblem(const RowCosts& costs, const LayerLoads& loads, int experts_per_program);

  int experts() const { return static_cast<int>(first_.size()) - 1; }
  int samples() const { return samples_; }
  size_t stride() const { return stride_; }
  int experts_per_program() const { return experts_per_program_; }
  const RowCosts& costs() const { return *costs_; }
  // Highest level worth looking at: it holds the largest sampled load. 0: not eligible, no load.
  int MaxLevel(int expert) const;
  int Programs(int residents) const;
  // Experts times levels: so small that all pairs of changes can be tried?
  bool IsSmall() const { return mean_cpu_ms_.size() <= kSmallProblem; }

  std::span<const float> CpuMs(int expert, int level) const { return Row(cpu_ms_, expert, level); }
  std::span<const float> FilledRows(int expert, int level) const {
    return Row(filled_, expert, level);
  }
  double MeanCpuMs(int expert, int level) const { return mean_cpu_ms_[Index(expert, level)]; }
  double MeanFilled(int expert, int level) const { return mean_filled_[Index(expert, level)]; }

 private:
  size_t Index(int expert, int level) const {
    return first_[static_cast<size_t>(expert)] + static_cast<size_t>(level);
  }
  std::span<const float> Row(const std::vector<float>& table, int expert, int level) const {
    return std::span(table).subspan(Index(expert, level) * stride_, static_cast<size_t>(samples_));
  }
  void Tabulate(const LayerLoads& loads, int expert);

  const RowCosts* costs_;
  int samples_;
  size_t stride_;  // of the tables: samples rounded up to lanes, the rest zero
  int experts_per_program_;
  std::vector<size_t> first_;  // [experts + 1] index of an expert's level 0
  std::vector<float> cpu_ms_;  // [experts' levels, samples]
  std::vector<float> filled_;
  std::vector<double> mean_cpu_ms_;  // [experts' levels]
  std::vector<double> mean_filled_;
};

// Of the shared expert, which the levels do not hold.
enum class SharedPlace : uint8_t { kCpu, kNpu };

struct LayerSolution {
  std::vector<int> levels;  // [experts]
  double score = 0;
  SharedPlace shared_place = SharedPlace::kCpu;  // that the score's fixed work is of
};

struct LevelChange {
  int expert = 0;
  int level = 0;
};

// The sums of the formula above for one solution, kept up to date change by change.
class LayerScore {
 public:
  LayerScore(const LayerProblem& problem, const ScoreWeights& weights, std::vector<int> levels);

  double Score() const;
  // Score after one or two changes of different experts, without making them.
  double ScoreWith(LevelChange a) const;
  double ScoreWith(LevelChange a, LevelChange b) const;
  void Apply(LevelChange change);

  int Level(int expert) const { return levels_[static_cast<size_t>(expert)]; }
  int residents() const { return sums_.residents; }
  LayerSolution Solution() const { return {levels_, Score(), SharedPlace::kCpu}; }

 private:
  struct Sums {  // what does not differ between samples, or only its mean matters
    double npu_ms = 0;
    double npu_j = 0;
    double mean_cpu_ms = 0;
    double mean_filled = 0;
    int residents = 0;
  };
  struct Rows {  // per sample, what a change takes away and adds
    const float* cpu_old;
    const float* cpu_added;
    const float* filled_old;
    const float* filled_added;
  };
  // Per lane, so that the compiler can use vector registers.
  static constexpr size_t kLanes = 8;
  struct Waits {
    float both[kLanes] = {};  // sums of max(N, B + D + C)
    float cpu[kLanes] = {};   // sums of max(N, C)
  };
  friend class LayerProblem;  // pads its tables to whole lanes
  Sums With(Sums sums, LevelChange change) const;
  Rows RowsOf(LevelChange change) const;
  Waits SumWaits(float npu_ms, float cpu_base_ms, const Rows& a, const Rows& b) const;
  double Evaluate(const Sums& sums, const Rows& a, const Rows& b) const;

  const LayerProblem* problem_;
  ScoreWeights weights_;
  std::vector<int> levels_;
  Sums sums_;
  std::vector<float> cpu_;     // [samples] C_k
  std::vector<float> filled_;  // [samples] rows on the NPU; D_k per row
  std::vector<float> zeros_;
};

}  // namespace npumoe
