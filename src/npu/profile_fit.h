// Fitting the cost model of profile.h to measured times: times in, figures out. Pure: who measures
// is runtime/profile_measure.h, who writes the profile is npu/profile_write.h.
//
// Both sides of the model have one form,
//   t = overhead + experts * max(flops / rate(rows), weight bytes / stream) + io bytes / io,
// which is linear in the overhead, in 1 / io and, for each number of rows that was measured, in
// the time c(rows) of one weight: t = overhead + weights * c(rows) + io bytes * q. The fit is the
// least squares of relative errors with nothing below zero; times that lie far off the others
// count less (Huber). Then stream follows from the smallest c, where more rows cost nothing, and
// rate(rows) = 2 * rows / c(rows) from there on: behind the stream the arithmetic is not seen.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "npu/profile.h"

namespace npumoe {

// The times of one shape.
struct TimedWork {
  std::string what;         // for people: "4 experts, 64 rows"
  double rows = 0;          // of each product; 0 without weights
  double weights = 0;       // numbers, of all experts together
  double weight_bytes = 0;  // of all experts together
  double io_bytes = 0;      // in and out
  double time_ms = 0;       // median of the repetitions, above 0
  double spread = 0;        // relative half-width of their middle half
};

// One figure and the relative half-width of its uncertainty: its standard error in the fit, or the
// fit's own error where that is larger.
struct FittedFigure {
  double value = 0;
  double spread = 0;
};

struct CostFit {
  FittedFigure overhead_ms;
  // By rows, flop/s / 10^9. The first is the last of those that cost no more than the smallest.
  std::vector<std::pair<double, FittedFigure>> gflops;
  FittedFigure stream_gb_per_s;
  // None: no shape has inputs and outputs, or they do not show in the times.
  std::optional<FittedFigure> io_gb_per_s;
  std::vector<double> fitted_ms;  // of the shapes, in their order, by the figures above
  double error = 0;               // median over the shapes of |fitted / measured - 1|
  double worst_error = 0;
};

enum class Overhead { kFitted, kNone };

// kInvalidInput says which figure the shapes cannot tell, and what is missing.
Result<CostFit> FitCosts(std::span<const TimedWork> shapes, Overhead overhead);

}  // namespace npumoe
