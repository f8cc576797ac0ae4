// Sums of dispatch counts (plan/simulator.h) over layers, chunks and prefills.
#pragma once

#include "plan/simulator.h"

namespace npumoe {

void Accumulate(const DispatchCounts& counts, DispatchCounts& total);

}  // namespace npumoe
