#include "calibrate/drift.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "calibrate/popularity.h"

namespace npumoe {
namespace {

// Half an assignment is added to every expert (Krichevsky-Trofimov): an expert that the
// calibration never saw is rare, not impossible.
std::vector<double> SmoothedShares(const std::vector<int64_t>& counts) {
  std::vector<double> shares(counts.size());
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  for (size_t e = 0; e < counts.size(); ++e) {
    shares[e] =
        (static_cast<double>(counts[e]) + 0.5) / (total + 0.5 * static_cast<double>(counts.size()));
  }
  return shares;
}

}  // namespace

double ChiSquareDistance(std::span<const double> observed, std::span<const double> calibrated) {
  NPUMOE_CHECK(observed.size() == calibrated.size());
  double sum = 0;
  for (size_t e = 0; e < observed.size(); ++e) {
    const double difference = observed[e] - calibrated[e];
    sum += difference * difference / calibrated[e];
  }
  return sum;
}

DriftMonitor::DriftMonitor(const Calibration& calibration, const DriftOptions& options)
    : experts_per_token_(calibration.experts_per_token),
      keep_per_token_(std::exp2(-1.0 / options.half_life_tokens)) {
  NPUMOE_CHECK(options.half_life_tokens > 0);
  for (size_t i = 0; i < calibration.layers.size(); ++i) {
    layers_.push_back(
        {.layer = calibration.layers[i].layer,
         .calibrated = SmoothedShares(ExpertCounts(calibration, i)),
         .observed = std::vector<double>(static_cast<size_t>(calibration.num_experts)),
         .total = 0});
  }
}

Status DriftMonitor::Observe(int layer, std::span<const int32_t> ids) {
  const auto k = static_cast<size_t>(experts_per_token_);
  for (Layer& state : layers_) {
    if (state.layer != layer) continue;
    const int experts = static_cast<int>(state.observed.size());
    const auto tokens = static_cast<int64_t>(ids.size() / k);
    for (int64_t t = 0; t < tokens; ++t) {
      NPUMOE_RETURN_IF_ERROR(
          ValidateTokenExperts(ids.subspan(static_cast<size_t>(t) * k, k), experts, t, layer));
    }
    const double keep = std::pow(keep_per_token_, static_cast<double>(tokens));
    for (double& count : state.observed) count *= keep;
    state.total *= keep;
    double weight = keep / keep_per_token_;  // of the first token; the last one counts 1
    for (size_t i = 0; i < static_cast<size_t>(tokens) * k; ++i) {
      if (i > 0 && i % k == 0) weight /= keep_per_token_;
      state.observed[static_cast<size_t>(ids[i])] += weight;
      state.total += weight;
    }
    return OkStatus();
  }
  return InvalidInput(fmt::format("drift: layer {} is not in the calibration", layer));
}

std::vector<double> DriftMonitor::Distances() const {
  std::vector<double> distances;
  for (const Layer& layer : layers_) {
    if (layer.total == 0) {
      distances.push_back(0);
      continue;
    }
    std::vector<double> shares = layer.observed;
    for (double& share : shares) share /= layer.total;
    distances.push_back(ChiSquareDistance(shares, layer.calibrated));
  }
  return distances;
}

double DriftMonitor::MeanDistance() const {
  const std::vector<double> distances = Distances();
  if (distances.empty()) return 0;
  return std::accumulate(distances.begin(), distances.end(), 0.0) /
         static_cast<double>(distances.size());
}

double DriftMonitor::NoiseLevel() const {
  double total = 0;
  for (const Layer& layer : layers_) total += layer.total;
  if (total == 0) return std::numeric_limits<double>::infinity();
  const double mean = total / static_cast<double>(layers_.size());
  return (static_cast<double>(layers_.front().observed.size()) - 1) / mean;
}

}  // namespace npumoe
