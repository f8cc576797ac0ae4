// Drift: does the text that runs still look like the text that was calibrated on? Per layer an
// exponentially forgotten histogram of expert choices is compared with the calibrated shares:
//   distance = sum over experts (observed - calibrated)^2 / calibrated          (of shares)
// 0 means equal; independent of how many tokens were seen, up to sampling noise of about
// (experts - 1) / assignments in the memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "calibrate/calibration.h"

namespace npumoe {

struct DriftOptions {
  // After this many tokens an observation counts half. Chosen: a few chunks, so that a change of
  // topic shows within one prompt while one chunk's noise does not.
  double half_life_tokens = 2048;
};

// [experts] shares against [experts] shares; calibrated entries must be above 0.
double ChiSquareDistance(std::span<const double> observed, std::span<const double> calibrated);

// Not thread-safe: fed on the thread that runs the session.
class DriftMonitor {
 public:
  DriftMonitor(const Calibration& calibration, const DriftOptions& options);

  // Tokens of one MoE layer, in order. ids [tokens, k]. Ids outside the calibration, or a layer
  // that it lacks, are refused: that is a calibration of another model.
  Status Observe(int layer, std::span<const int32_t> ids);
  // Per layer of the calibration, in its order; 0 where nothing was observed.
  std::vector<double> Distances() const;
  double MeanDistance() const;
  // What a sample of the calibrated text itself would show: (experts - 1) / assignments
  // remembered. Distances far above it are drift, not noise. Infinite before any observation.
  double NoiseLevel() const;

 private:
  struct Layer {
    int layer = 0;
    std::vector<double> calibrated;  // shares, smoothed so that none is 0
    std::vector<double> observed;    // forgotten counts
    double total = 0;
  };
  int experts_per_token_ = 1;
  double keep_per_token_ = 1;
  std::vector<Layer> layers_;
};

}  // namespace npumoe
