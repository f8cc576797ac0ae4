#include "calibrate/popularity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/checked_math.h"

namespace npumoe {
namespace {

// Blocks [begin, end) of a calibration; the first one starts a sequence.
Calibration BlockRange(const Calibration& calibration, size_t begin, size_t end) {
  const auto experts = static_cast<size_t>(calibration.num_experts);
  Calibration part = calibration;
  part.blocks.assign(calibration.blocks.begin() + static_cast<ptrdiff_t>(begin),
                     calibration.blocks.begin() + static_cast<ptrdiff_t>(end));
  part.blocks.front().starts_sequence = true;
  for (size_t i = 0; i < part.layers.size(); ++i) {
    const std::vector<uint8_t>& counts = calibration.layers[i].counts;
    part.layers[i].counts.assign(counts.begin() + static_cast<ptrdiff_t>(begin * experts),
                                 counts.begin() + static_cast<ptrdiff_t>(end * experts));
  }
  return part;
}

// Loads of one expert over all chunks, ascending.
std::vector<int32_t> SortedLoads(const ChunkLoads& loads, size_t layer, size_t expert) {
  const auto experts = static_cast<size_t>(loads.num_experts);
  std::vector<int32_t> values;
  for (size_t i = expert; i < loads.layers[layer].size(); i += experts) {
    values.push_back(loads.layers[layer][i]);
  }
  std::sort(values.begin(), values.end());
  return values;
}

double MeanOf(std::span<const int32_t> values) {
  if (values.empty()) return 0;
  return static_cast<double>(std::accumulate(values.begin(), values.end(), int64_t{0})) /
         static_cast<double>(values.size());
}

}  // namespace

std::vector<int64_t> ExpertCounts(const Calibration& calibration, size_t layer) {
  NPUMOE_CHECK(layer < calibration.layers.size());
  const auto experts = static_cast<size_t>(calibration.num_experts);
  std::vector<int64_t> sums(experts);
  const std::vector<uint8_t>& counts = calibration.layers[layer].counts;
  for (size_t i = 0; i < counts.size(); ++i) sums[i % experts] += counts[i];
  return sums;
}

std::vector<double> ExpertShares(const Calibration& calibration, size_t layer) {
  const std::vector<int64_t> counts = ExpertCounts(calibration, layer);
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  std::vector<double> shares(counts.size());
  for (size_t e = 0; e < counts.size() && total > 0; ++e) {
    shares[e] = static_cast<double>(counts[e]) / total;
  }
  return shares;
}

std::vector<int> ByPopularity(std::span<const double> shares) {
  std::vector<int> order(shares.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return shares[static_cast<size_t>(a)] > shares[static_cast<size_t>(b)];
  });
  return order;
}

Skew MeasureSkew(std::span<const double> shares) {
  Skew skew;
  if (shares.empty()) return skew;
  std::vector<double> ascending(shares.begin(), shares.end());
  std::sort(ascending.begin(), ascending.end());
  const auto n = static_cast<double>(ascending.size());
  double entropy = 0;
  double weighted = 0;
  for (size_t i = 0; i < ascending.size(); ++i) {
    const double share = ascending[i];
    weighted += (2 * (static_cast<double>(i) + 1) - n - 1) * share;
    if (share > 0) entropy -= share * std::log(share);
    if (share == 0) ++skew.unused_experts;
  }
  skew.largest_over_mean = ascending.back() * n;
  skew.gini = weighted / n;
  skew.effective_experts = std::exp(entropy);
  return skew;
}

Result<std::pair<Calibration, Calibration>> SplitCalibration(const Calibration& calibration,
                                                             double fraction) {
  const size_t blocks = calibration.blocks.size();
  const double wanted = fraction * static_cast<double>(blocks);
  if (!(fraction > 0 && fraction < 1) || blocks < 2) {
    return InvalidInput(fmt::format(
        "cannot hold out a part: fraction {} of {} blocks of {} tokens; both parts need a block",
        fraction, blocks, kCalibrationBlockTokens));
  }
  const size_t cut = std::clamp<size_t>(static_cast<size_t>(std::lround(wanted)), 1, blocks - 1);
  return std::pair(BlockRange(calibration, 0, cut), BlockRange(calibration, cut, blocks));
}

double Coverage(const Calibration& calibration, const Calibration& held_out, size_t layer,
                int top) {
  NPUMOE_CHECK(calibration.num_experts == held_out.num_experts);
  const std::vector<int> order = ByPopularity(ExpertShares(calibration, layer));
  const std::vector<double> shares = ExpertShares(held_out, layer);
  double covered = 0;
  for (int i = 0; i < std::min(top, calibration.num_experts); ++i) {
    covered += shares[static_cast<size_t>(order[static_cast<size_t>(i)])];
  }
  return covered;
}

std::vector<int64_t> QuantileCapacities(const ChunkLoads& loads, size_t layer, double q,
                                        int64_t quantum) {
  std::vector<int64_t> capacities;
  for (size_t e = 0; e < static_cast<size_t>(loads.num_experts); ++e) {
    const std::vector<int32_t> sorted = SortedLoads(loads, layer, e);
    if (sorted.empty()) {
      capacities.push_back(0);
      continue;
    }
    const double rank = std::clamp(q, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<size_t>(rank);
    const size_t above = std::min(below + 1, sorted.size() - 1);
    const double load =
        sorted[below] + (rank - static_cast<double>(below)) * (sorted[above] - sorted[below]);
    capacities.push_back(RoundUp(static_cast<int64_t>(std::ceil(load)), quantum));
  }
  return capacities;
}

std::vector<int64_t> TierCapacities(const ChunkLoads& loads, size_t layer,
                                    std::span<const double> multiples, int64_t quantum) {
  const double mean = MeanOf(loads.layers[layer]);
  std::vector<int64_t> tiers;
  for (double multiple : multiples) {
    tiers.push_back(RoundUp(static_cast<int64_t>(std::ceil(multiple * mean)), quantum));
  }
  std::sort(tiers.begin(), tiers.end());
  std::vector<int64_t> capacities;
  for (size_t e = 0; e < static_cast<size_t>(loads.num_experts); ++e) {
    const double load = MeanOf(SortedLoads(loads, layer, e));
    const auto tier = std::find_if(tiers.begin(), tiers.end(), [&](int64_t capacity) {
      return static_cast<double>(capacity) >= load;
    });
    capacities.push_back(tier != tiers.end() ? *tier : (tiers.empty() ? 0 : tiers.back()));
  }
  return capacities;
}

double CapacityFit::padding_share() const {
  return capacity_rows == 0 ? 0
                            : static_cast<double>(padding()) / static_cast<double>(capacity_rows);
}

double CapacityFit::overflow_share() const {
  return assignments == 0 ? 0 : static_cast<double>(overflow) / static_cast<double>(assignments);
}

CapacityFit& CapacityFit::operator+=(const CapacityFit& other) {
  capacity_rows += other.capacity_rows;
  assignments += other.assignments;
  overflow += other.overflow;
  return *this;
}

CapacityFit FitCapacities(const ChunkLoads& loads, size_t layer,
                          std::span<const int64_t> capacities) {
  const auto experts = static_cast<size_t>(loads.num_experts);
  NPUMOE_CHECK(layer < loads.layers.size() && capacities.size() == experts);
  CapacityFit fit;
  for (size_t i = 0; i < loads.layers[layer].size(); ++i) {
    const int64_t load = loads.layers[layer][i];
    const int64_t capacity = capacities[i % experts];
    fit.capacity_rows += capacity;
    fit.assignments += load;
    fit.overflow += std::max<int64_t>(0, load - capacity);
  }
  return fit;
}

}  // namespace npumoe
