#include "plan/program_budget.h"

#include <algorithm>

namespace npumoe {

std::vector<int> ShareOutPrograms(const std::vector<std::vector<double>>& curves, int64_t budget) {
  int64_t wanted = 0;
  for (const std::vector<double>& curve : curves) wanted += static_cast<int64_t>(curve.size()) - 1;
  const auto width = static_cast<size_t>(std::min(budget, wanted)) + 1;
  // best[b]: smallest sum over the layers so far with at most b programs.
  std::vector<double> best(width, 0);
  std::vector<std::vector<int>> choice(curves.size(), std::vector<int>(width, 0));
  for (size_t layer = 0; layer < curves.size(); ++layer) {
    std::vector<double> next(width);
    for (size_t b = 0; b < width; ++b) {
      next[b] = best[b] + curves[layer][0];
      for (size_t p = 1; p < curves[layer].size() && p <= b; ++p) {
        const double sum = best[b - p] + curves[layer][p];
        if (sum >= next[b]) continue;
        next[b] = sum;
        choice[layer][b] = static_cast<int>(p);
      }
    }
    best = std::move(next);
  }
  std::vector<int> programs(curves.size(), 0);
  size_t left = width - 1;
  for (size_t layer = curves.size(); layer-- > 0;) {
    programs[layer] = choice[layer][left];
    left -= static_cast<size_t>(programs[layer]);
  }
  return programs;
}

}  // namespace npumoe
