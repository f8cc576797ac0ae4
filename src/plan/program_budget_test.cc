#include "plan/program_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

namespace npumoe {
namespace {

double SumOf(const std::vector<std::vector<double>>& curves, const std::vector<int>& programs) {
  double sum = 0;
  for (size_t l = 0; l < curves.size(); ++l) sum += curves[l][static_cast<size_t>(programs[l])];
  return sum;
}

// Every split, by counting up.
double BestSum(const std::vector<std::vector<double>>& curves, int budget) {
  std::vector<int> programs(curves.size(), 0);
  double best = std::numeric_limits<double>::infinity();
  for (;;) {
    if (std::accumulate(programs.begin(), programs.end(), 0) <= budget) {
      best = std::min(best, SumOf(curves, programs));
    }
    size_t l = 0;
    while (l < curves.size() && ++programs[l] == static_cast<int>(curves[l].size())) {
      programs[l++] = 0;
    }
    if (l == curves.size()) return best;
  }
}

TEST(ProgramBudget, IsExactOnRandomCurvesEvenWhereTheSavingIsNotConcave) {
  std::mt19937 random(17);
  std::uniform_real_distribution<double> step(0, 1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::vector<double>> curves(4);
    for (std::vector<double>& curve : curves) {
      curve = {10};
      while (curve.size() < 5) curve.push_back(curve.back() - step(random) * step(random));
    }
    const int budget = round % 12;
    const std::vector<int> programs = ShareOutPrograms(curves, budget);
    EXPECT_LE(std::accumulate(programs.begin(), programs.end(), 0), budget);
    EXPECT_NEAR(SumOf(curves, programs), BestSum(curves, budget), 1e-12);
  }
}

TEST(ProgramBudget, TakesNoProgramThatSavesNothing) {
  EXPECT_EQ(ShareOutPrograms({{5, 5, 5}, {3, 2, 2}}, 100), (std::vector<int>{0, 1}));
}

TEST(ProgramBudget, SharesOutNothingFromAnEmptyBudget) {
  EXPECT_EQ(ShareOutPrograms({{5, 1}, {3, 2}}, 0), (std::vector<int>{0, 0}));
}

}  // namespace
}  // namespace npumoe
