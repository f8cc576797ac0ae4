// The figures of a chip profile moved by their spreads, one at a time.
#pragma once

#include <vector>

#include "npu/profile.h"

namespace npumoe {

struct FigureVariation {
  ChipProfile up;
  ChipProfile down;
};

// One entry per cost figure with a spread; the points of a rate curve move together.
std::vector<FigureVariation> VaryFigures(const ChipProfile& profile);

}  // namespace npumoe
