#include "plan/frontier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "calibrate/popularity.h"
#include "plan/layer_score.h"
#include "plan/load_samples.h"

namespace npumoe {
namespace {

constexpr int kMaxSamples = 64;  // as for planning
// Chosen: up to the multiplier of 1/2, where a row costs the same whether it is kept or spilled
// and no capacity is worth having.
constexpr double kMultipliers[] = {0.005, 0.01, 0.02,  0.04, 0.06, 0.08, 0.1, 0.125, 0.15,
                                   0.175, 0.2,  0.225, 0.25, 0.3,  0.35, 0.4, 0.45,  0.48};

// Costs in which a row is worth 1 on either engine. Without the floor these are straight lines;
// with it they keep the shape of the chip's, in units of the NPU's row far above the knee.
RowCosts FrontierCosts(const CostModel& costs, const FrontierOptions& options) {
  RowCosts table = TabulateRowCosts(costs, options.chunk_tokens);
  if (options.floor == WeightFloor::kOff) {
    for (size_t level = 0; level < table.npu_ms.size(); ++level) {
      table.npu_ms[level] = static_cast<double>(static_cast<int64_t>(level) * table.quantum);
    }
    for (size_t rows = 0; rows < table.cpu_ms.size(); ++rows) {
      table.cpu_ms[rows] = static_cast<double>(rows);
    }
  }
  return table;
}

// Cheapest capacity above zero for every expert.
std::vector<int64_t> ChooseCapacities(const LayerProblem& problem, double multiplier) {
  const RowCosts& costs = problem.costs();
  std::vector<int64_t> capacities;
  for (int expert = 0; expert < problem.experts(); ++expert) {
    int best = 1;  // all experts are resident, asked for or not
    double best_cost = HUGE_VAL;
    for (int level = 1; level <= problem.MaxLevel(expert); ++level) {
      const double cost = multiplier * costs.npu_ms[static_cast<size_t>(level)] +
                          (1 - multiplier) * problem.MeanCpuMs(expert, level);
      if (cost < best_cost) {
        best = level;
        best_cost = cost;
      }
    }
    capacities.push_back(best * costs.quantum);
  }
  return capacities;
}

FrontierPoint ReplayHeldOut(const std::vector<LayerProblem>& layers, const ChunkLoads& held_out,
                            double multiplier) {
  CapacityFit fit;
  for (size_t l = 0; l < layers.size(); ++l) {
    fit += FitCapacities(held_out, l, ChooseCapacities(layers[l], multiplier));
  }
  return {multiplier, fit.padding_share(), fit.overflow_share(),
          fit.capacity_rows / held_out.chunks};
}

}  // namespace

Result<std::vector<FrontierPoint>> MakeFrontier(const Calibration& calibrated,
                                                const Calibration& held_out, const CostModel& costs,
                                                const FrontierOptions& options) {
  if (calibrated.num_experts != held_out.num_experts ||
      calibrated.layers.size() != held_out.layers.size()) {
    return InvalidInput(fmt::format(
        "calibration of {} layers of {} experts, held-out part of {} layers of {} experts; both "
        "must be of one model",
        calibrated.layers.size(), calibrated.num_experts, held_out.layers.size(),
        held_out.num_experts));
  }
  NPUMOE_ASSIGN_OR_RETURN(const ChunkLoads chunks,
                          LoadsPerChunk(calibrated, options.chunk_tokens, options.borders));
  NPUMOE_ASSIGN_OR_RETURN(const ChunkLoads replayed,
                          LoadsPerChunk(held_out, options.chunk_tokens, options.borders));
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<LayerLoads> samples,
                          SampleLoads(calibrated, chunks, kMaxSamples));
  const RowCosts row_costs = FrontierCosts(costs, options);
  std::vector<LayerProblem> layers;
  for (const LayerLoads& loads : samples) layers.emplace_back(row_costs, loads, loads.experts);
  std::vector<FrontierPoint> points;
  for (const double multiplier : kMultipliers) {
    points.push_back(ReplayHeldOut(layers, replayed, multiplier));
  }
  return points;
}

std::string FormatFrontiers(const std::vector<FrontierPoint>& floor_off,
                            const std::vector<FrontierPoint>& floor_on,
                            const std::string& profile_name) {
  std::string text = fmt::format("{:>10} | {:^29} | {:^29}\n", "", "weight floor off",
                                 "weight floor of " + profile_name);
  text += fmt::format("{:>10} | {:>8} {:>8} {:>11} | {:>8} {:>8} {:>11}\n", "multiplier", "padding",
                      "spill", "rows/chunk", "padding", "spill", "rows/chunk");
  for (size_t i = 0; i < floor_off.size() && i < floor_on.size(); ++i) {
    const FrontierPoint& off = floor_off[i];
    const FrontierPoint& on = floor_on[i];
    text += fmt::format("{:>10.3f} | {:>7.2f}% {:>7.2f}% {:>11} | {:>7.2f}% {:>7.2f}% {:>11}\n",
                        off.multiplier, 100 * off.padding, 100 * off.spill, off.capacity_rows,
                        100 * on.padding, 100 * on.spill, on.capacity_rows);
  }
  return text;
}

}  // namespace npumoe
