#include "plan/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace npumoe {
namespace {

struct Interval {
  double start_ms = 0;
  double end_ms = 0;
};

// The engine's busy times as disjoint intervals, ascending.
std::vector<Interval> BusyIntervals(const std::vector<TimelineSpan>& spans, Engine engine) {
  std::vector<Interval> all;
  for (const TimelineSpan& span : spans) {
    if (span.engine == engine) all.push_back({span.start_ms, span.end_ms});
  }
  std::ranges::sort(all, {}, &Interval::start_ms);
  std::vector<Interval> merged;
  for (const Interval& interval : all) {
    if (!merged.empty() && interval.start_ms <= merged.back().end_ms) {
      merged.back().end_ms = std::max(merged.back().end_ms, interval.end_ms);
    } else {
      merged.push_back(interval);
    }
  }
  return merged;
}

double Total(const std::vector<Interval>& intervals) {
  double total = 0;
  for (const Interval& interval : intervals) total += interval.end_ms - interval.start_ms;
  return total;
}

// Share of each of `columns` equal stretches of [0, end_ms] that is busy.
std::vector<double> BusyShares(const std::vector<Interval>& intervals, double end_ms, int columns) {
  std::vector<double> shares(static_cast<size_t>(columns));
  const double cell_ms = end_ms / columns;
  for (const Interval& interval : intervals) {
    const auto first = static_cast<int>(std::max(0.0, interval.start_ms / cell_ms));
    for (int cell = first; cell < columns && cell * cell_ms < interval.end_ms; ++cell) {
      const double overlap = std::min(interval.end_ms, (cell + 1) * cell_ms) -
                             std::max(interval.start_ms, cell * cell_ms);
      shares[static_cast<size_t>(cell)] += std::max(0.0, overlap) / cell_ms;
    }
  }
  return shares;
}

// Blank only when nothing at all happened in the cell, full only when it was busy throughout.
const char* Block(double share) {
  constexpr double kRounding = 1e-9;  // shares are sums of quotients
  if (share <= 0) return " ";
  if (share < 1.0 / 3) return "░";
  if (share < 2.0 / 3) return "▒";
  return share < 1.0 - kRounding ? "▓" : "█";
}

const char* SourceOf(const std::vector<TimelineSpan>& spans, Engine engine) {
  bool measured = false;
  bool modelled = false;
  for (const TimelineSpan& span : spans) {
    if (span.engine != engine) continue;
    (span.source == TimeSource::kMeasured ? measured : modelled) = true;
  }
  if (measured && modelled) return "mixed";
  return measured ? "measured" : "modelled";
}

std::string Row(const Timeline& timeline, Engine engine, double end_ms, int columns) {
  const auto intervals = BusyIntervals(timeline.spans, engine);
  std::string row = engine == Engine::kCpu ? "CPU" : "NPU";
  if (intervals.empty()) return row + " (idle)     │" + std::string(columns, ' ') + "│\n";
  row += fmt::format(" ({:<8}) │", SourceOf(timeline.spans, engine));
  for (const double share : BusyShares(intervals, end_ms, columns)) row += Block(share);
  const double busy_ms = Total(intervals);
  return row + fmt::format("│ {:.1f} ms, {:.0f}%\n", busy_ms, 100 * busy_ms / end_ms);
}

// Marks at four equal stretches with their times; a label that does not fit is left out.
std::string Axis(double end_ms, int columns) {
  constexpr int kStretches = 4;
  const int decimals = end_ms < 10 ? 2 : end_ms < 100 ? 1 : 0;
  std::string labels;
  for (int i = 0; i <= kStretches; ++i) {
    const auto at = static_cast<size_t>(columns * i / kStretches);
    const std::string label =
        fmt::format("{:.{}f}{}", end_ms * i / kStretches, decimals, i == kStretches ? " ms" : "");
    if (!labels.empty() && labels.size() >= at) continue;
    labels.resize(at, ' ');
    labels += label;
  }
  return labels;
}

}  // namespace

double Timeline::BusyMs(Engine engine) const { return Total(BusyIntervals(spans, engine)); }

double Timeline::EndMs() const {
  double end_ms = 0;
  for (const TimelineSpan& span : spans) end_ms = std::max(end_ms, span.end_ms);
  return end_ms;
}

std::string Timeline::Draw(int columns) const {
  constexpr int kLabelColumns = 16;  // "CPU (measured) │"
  constexpr int kTailColumns = 22;   // "│ 12345.6 ms, 100%" and room for larger numbers
  constexpr int kMinChartColumns = 20;
  const double end_ms = EndMs();
  if (end_ms <= 0) return "(nothing ran)\n";
  const int chart = std::max(kMinChartColumns, columns - kLabelColumns - kTailColumns);
  return Row(*this, Engine::kCpu, end_ms, chart) + Row(*this, Engine::kNpu, end_ms, chart) +
         std::string(kLabelColumns, ' ') + Axis(end_ms, chart) + "\n";
}

}  // namespace npumoe
