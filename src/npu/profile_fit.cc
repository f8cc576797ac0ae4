#include "npu/profile_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"
#include "npu/nonnegative_fit.h"

namespace npumoe {
namespace {

// How much slower than the fastest a number of rows may be and still count as bound by the stream
// of weights. Chosen: above the noise of medians, below what the next number of rows adds.
constexpr double kSameTime = 0.05;
constexpr double kMsPerSecond = 1e3;
constexpr double kGiga = 1e9;

// The unknowns of the linear form and where each stands.
struct Unknowns {
  std::vector<std::string> names;
  std::optional<size_t> overhead;
  std::optional<size_t> io;
  std::map<double, size_t> rows;  // ascending
};

Unknowns ListUnknowns(std::span<const TimedWork> shapes, Overhead overhead) {
  Unknowns unknowns;
  const auto add = [&](std::string name) {
    unknowns.names.push_back(std::move(name));
    return unknowns.names.size() - 1;
  };
  if (overhead == Overhead::kFitted) unknowns.overhead = add("the cost of a launch");
  const auto has_io = [](const TimedWork& shape) { return shape.io_bytes > 0; };
  if (std::ranges::any_of(shapes, has_io)) unknowns.io = add("the bandwidth of inputs and outputs");
  for (const TimedWork& shape : shapes) {
    if (shape.weights > 0) unknowns.rows.emplace(shape.rows, 0);
  }
  for (auto& [rows, index] : unknowns.rows) index = add(fmt::format("the rate of {} rows", rows));
  return unknowns;
}

// [shapes][unknowns], each row divided by its time.
std::vector<std::vector<double>> Observations(std::span<const TimedWork> shapes,
                                              const Unknowns& unknowns) {
  std::vector<std::vector<double>> observations;
  for (const TimedWork& shape : shapes) {
    std::vector<double>& row = observations.emplace_back(unknowns.names.size());
    if (unknowns.overhead) row[*unknowns.overhead] = 1 / shape.time_ms;
    if (unknowns.io) row[*unknowns.io] = shape.io_bytes / shape.time_ms;
    if (shape.weights > 0) row[unknowns.rows.at(shape.rows)] = shape.weights / shape.time_ms;
  }
  return observations;
}

Status CheckShapes(std::span<const TimedWork> shapes) {
  double bytes_per_weight = 0;
  for (const TimedWork& shape : shapes) {
    NPUMOE_CHECK((shape.weights > 0) == (shape.rows > 0));
    NPUMOE_CHECK((shape.weights > 0) == (shape.weight_bytes > 0));
    if (!std::isfinite(shape.time_ms) || shape.time_ms <= 0) {
      return InvalidInput(fmt::format("{}: the measured time is {} ms; times are above 0",
                                      shape.what, shape.time_ms));
    }
    if (shape.weights == 0) continue;
    const double bytes = shape.weight_bytes / shape.weights;
    NPUMOE_CHECK(bytes_per_weight == 0 || std::abs(bytes / bytes_per_weight - 1) < 1e-9);
    bytes_per_weight = bytes;
  }
  if (bytes_per_weight == 0) return InvalidInput("no measured shape has weights");
  return OkStatus();
}

double BytesPerWeight(std::span<const TimedWork> shapes) {
  const auto found = std::ranges::find_if(shapes, [](auto& shape) { return shape.weights > 0; });
  return found->weight_bytes / found->weights;
}

struct WeightTime {
  double rows = 0;
  double ms = 0;        // of one weight
  double relative = 0;  // standard error
};

std::vector<WeightTime> WeightTimes(const Unknowns& unknowns, const NonnegativeFit& fit) {
  std::vector<WeightTime> times;
  for (const auto& [rows, index] : unknowns.rows) {
    const double ms = fit.values[index];
    times.push_back({rows, ms, ms > 0 ? fit.errors[index] / ms : 1});
  }
  return times;
}

// Stream and rates from the times of one weight.
Status SplitStreamAndRates(const std::vector<WeightTime>& times, double bytes_per_weight,
                           CostFit& fit) {
  for (const WeightTime& time : times) {
    if (time.ms > 0) continue;
    return InvalidInput(fmt::format(
        "the weights of {} rows do not show in the measured times; measure more experts at once",
        time.rows));
  }
  const double fastest = std::ranges::min_element(times, {}, &WeightTime::ms)->ms;
  const auto streams = [&](const WeightTime& time) { return time.ms <= fastest * (1 + kSameTime); };
  double sum = 0, error = 0;
  int count = 0;
  for (const WeightTime& time : times) {
    if (!streams(time)) continue;
    sum += time.ms;
    error = std::max(error, time.relative);
    ++count;
  }
  fit.stream_gb_per_s = {bytes_per_weight * kMsPerSecond / (sum / count) / kGiga, error};
  for (size_t i = 0; i < times.size(); ++i) {
    const bool behind_stream =
        fit.gflops.empty() && streams(times[i]) && i + 1 < times.size() && streams(times[i + 1]);
    if (behind_stream) continue;
    fit.gflops.push_back(
        {times[i].rows,
         {2 * times[i].rows * kMsPerSecond / times[i].ms / kGiga, times[i].relative}});
  }
  return OkStatus();
}

double FittedMs(const TimedWork& shape, const CostFit& fit, std::span<const RatePoint> rates) {
  double ms = fit.overhead_ms.value;
  if (shape.weights > 0) {
    const double compute_s = 2 * shape.rows * shape.weights / (RateAt(rates, shape.rows) * kGiga);
    const double stream_s = shape.weight_bytes / (fit.stream_gb_per_s.value * kGiga);
    ms += std::max(compute_s, stream_s) * kMsPerSecond;
  }
  if (fit.io_gb_per_s) {
    ms += shape.io_bytes / (fit.io_gb_per_s->value * kGiga) * kMsPerSecond;
  }
  return ms;
}

void Judge(std::span<const TimedWork> shapes, CostFit& fit) {
  std::vector<RatePoint> rates;
  for (const auto& [rows, rate] : fit.gflops) {
    rates.push_back({rows, {rate.value, Provenance::kMeasured, rate.spread, "fit"}});
  }
  std::vector<double> errors;
  for (const TimedWork& shape : shapes) {
    fit.fitted_ms.push_back(FittedMs(shape, fit, rates));
    errors.push_back(std::abs(fit.fitted_ms.back() / shape.time_ms - 1));
  }
  std::ranges::sort(errors);
  fit.error = errors[errors.size() / 2];
  fit.worst_error = errors.back();
}

void WidenSpreads(std::span<const TimedWork> shapes, CostFit& fit) {
  std::vector<double> noise;
  for (const TimedWork& shape : shapes) noise.push_back(shape.spread);
  std::ranges::sort(noise);
  const double least = std::max(fit.error, noise[noise.size() / 2]);
  const auto widen = [&](FittedFigure& figure) {
    figure.spread = std::clamp(figure.spread, least, 1.0);
  };
  if (fit.overhead_ms.value > 0) widen(fit.overhead_ms);
  widen(fit.stream_gb_per_s);
  if (fit.io_gb_per_s) widen(*fit.io_gb_per_s);
  for (auto& [rows, rate] : fit.gflops) widen(rate);
}

}  // namespace

Result<CostFit> FitCosts(std::span<const TimedWork> shapes, Overhead overhead) {
  NPUMOE_RETURN_IF_ERROR(CheckShapes(shapes));
  const Unknowns unknowns = ListUnknowns(shapes, overhead);
  NPUMOE_ASSIGN_OR_RETURN(const NonnegativeFit solved,
                          FitNonnegative(Observations(shapes, unknowns), unknowns.names));
  CostFit fit;
  if (unknowns.overhead) {
    const double ms = solved.values[*unknowns.overhead];
    fit.overhead_ms = {ms, ms > 0 ? solved.errors[*unknowns.overhead] / ms : 0};
  }
  if (unknowns.io && solved.values[*unknowns.io] > 0) {
    const double ms_per_byte = solved.values[*unknowns.io];
    fit.io_gb_per_s = {kMsPerSecond / ms_per_byte / kGiga,
                       solved.errors[*unknowns.io] / ms_per_byte};
  }
  NPUMOE_RETURN_IF_ERROR(
      SplitStreamAndRates(WeightTimes(unknowns, solved), BytesPerWeight(shapes), fit));
  Judge(shapes, fit);
  WidenSpreads(shapes, fit);
  return fit;
}

}  // namespace npumoe
