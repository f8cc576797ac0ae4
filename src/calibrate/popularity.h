// Popularity: what a calibration says about who is asked, how far it holds on text that it was
// not made from, and what capacities made from it would waste or miss. For reports and for
// judging calibrations; the planner has its own optimum.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "calibrate/calibration.h"

namespace npumoe {

// Assignments per expert of one layer (index into Calibration::layers): [experts].
std::vector<int64_t> ExpertCounts(const Calibration& calibration, size_t layer);
// The same as shares that add up to 1.
std::vector<double> ExpertShares(const Calibration& calibration, size_t layer);
// Experts, most popular first, the smaller id on ties.
std::vector<int> ByPopularity(std::span<const double> shares);

struct Skew {
  double largest_over_mean = 0;  // load of the most popular expert / mean load
  double gini = 0;               // 0: all equal, towards 1: one expert has everything
  double effective_experts = 0;  // exp(entropy): as many equally popular ones look like this
  int unused_experts = 0;
};
Skew MeasureSkew(std::span<const double> shares);

// The first `fraction` of the blocks and the held-out rest; the cut starts a sequence. Fails when
// one side would be empty.
Result<std::pair<Calibration, Calibration>> SplitCalibration(const Calibration& calibration,
                                                             double fraction);

// Share of the held-out assignments of one layer that go to the `top` experts that are most
// popular in the calibration.
double Coverage(const Calibration& calibration, const Calibration& held_out, size_t layer, int top);

// The q-quantile (0..1, linear between ranks) of each expert's load, rounded up to the
// quantum: [experts] of one layer of `loads`.
std::vector<int64_t> QuantileCapacities(const ChunkLoads& loads, size_t layer, double q,
                                        int64_t quantum);
// The smallest of the given multiples of the mean load (each rounded up to the quantum) that
// holds the expert's mean load; the largest where none does.
std::vector<int64_t> TierCapacities(const ChunkLoads& loads, size_t layer,
                                    std::span<const double> multiples, int64_t quantum);

struct CapacityFit {
  int64_t capacity_rows = 0;  // capacities times chunks
  int64_t assignments = 0;
  int64_t overflow = 0;  // assignments beyond the capacity
  int64_t padding() const { return capacity_rows - (assignments - overflow); }
  double padding_share() const;   // of the capacity rows
  double overflow_share() const;  // of the assignments
  CapacityFit& operator+=(const CapacityFit& other);
};
// Replays one layer of `loads` against capacities, all experts resident.
CapacityFit FitCapacities(const ChunkLoads& loads, size_t layer,
                          std::span<const int64_t> capacities);

}  // namespace npumoe
