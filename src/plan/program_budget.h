// Programs are scarce (about 120 a process) and layers compete for them. Shares a budget out over
// layers from their curves: the layer's score with at most p programs.
#pragma once

#include <cstdint>
#include <vector>

namespace npumoe {

// Programs per layer with the smallest sum of curves[layer][programs]; curves never rise. Exact,
// by dynamic programming over layers: greedy by saving per program misses curves whose second
// program saves more than the first. On equal sums fewer programs are taken.
std::vector<int> ShareOutPrograms(const std::vector<std::vector<double>>& curves, int64_t budget);

}  // namespace npumoe
