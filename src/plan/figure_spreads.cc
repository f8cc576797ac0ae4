#include "plan/figure_spreads.h"

#include <algorithm>

namespace npumoe {
namespace {

// A rate or bandwidth may be uncertain by 100%: never move it to zero or below.
constexpr double kLeastFactor = 0.05;

using FigureOf = Figure* (*)(ChipProfile&);  // null: the profile leaves it out
using CurveOf = std::vector<RatePoint>& (*)(ChipProfile&);

Figure* OrNull(std::optional<Figure>& figure) { return figure ? &*figure : nullptr; }

constexpr FigureOf kFigures[] = {
    [](ChipProfile& p) -> Figure* { return &p.npu.launch_ms; },
    [](ChipProfile& p) -> Figure* { return &p.npu.sync_ms; },
    [](ChipProfile& p) -> Figure* { return &p.npu.stream_gb_per_s; },
    [](ChipProfile& p) -> Figure* { return &p.npu.io_gb_per_s; },
    [](ChipProfile& p) -> Figure* { return &p.npu.slowdown_beside_cpu; },
    [](ChipProfile& p) -> Figure* { return &p.cpu.slowdown_beside_npu; },
    [](ChipProfile& p) -> Figure* { return &p.npu.idle_w; },
    [](ChipProfile& p) -> Figure* { return &p.npu.stream_w; },
    [](ChipProfile& p) -> Figure* { return &p.npu.compute_w; },
    [](ChipProfile& p) -> Figure* { return &p.cpu.bandwidth_gb_per_s; },
    [](ChipProfile& p) -> Figure* { return &p.cpu.copy_gb_per_s; },
    [](ChipProfile& p) -> Figure* { return OrNull(p.cpu.gather_gb_per_s); },
    [](ChipProfile& p) -> Figure* { return OrNull(p.cpu.combine_gb_per_s); },
    [](ChipProfile& p) -> Figure* { return &p.cpu.active_w; },
    [](ChipProfile& p) -> Figure* { return &p.cpu.idle_w; },
};

constexpr CurveOf kCurves[] = {
    [](ChipProfile& p) -> std::vector<RatePoint>& { return p.npu.tflops; },
    [](ChipProfile& p) -> std::vector<RatePoint>& { return p.cpu.gflops; },
};

void Scale(Figure& figure, double direction) {
  figure.value *= std::max(kLeastFactor, 1 + direction * figure.spread);
}

void Scale(std::vector<RatePoint>& curve, double direction) {
  for (RatePoint& point : curve) Scale(point.rate, direction);
}

template <class Member>
FigureVariation Vary(const ChipProfile& profile, Member member) {
  FigureVariation variation{profile, profile};
  Scale(member(variation.up), 1);
  Scale(member(variation.down), -1);
  return variation;
}

}  // namespace

std::vector<FigureVariation> VaryFigures(const ChipProfile& profile) {
  std::vector<FigureVariation> variations;
  ChipProfile copy = profile;
  for (const FigureOf figure : kFigures) {
    const Figure* found = figure(copy);
    if (found == nullptr || found->spread == 0) continue;
    variations.push_back(Vary(profile, [&](ChipProfile& p) -> Figure& { return *figure(p); }));
  }
  for (const CurveOf curve : kCurves) {
    const std::vector<RatePoint>& points = curve(copy);
    const bool uncertain = std::any_of(points.begin(), points.end(),
                                       [](const RatePoint& p) { return p.rate.spread > 0; });
    if (uncertain) variations.push_back(Vary(profile, curve));
  }
  return variations;
}

}  // namespace npumoe
