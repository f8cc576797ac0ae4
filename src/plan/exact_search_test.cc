#include "plan/exact_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "plan/layer_optimum.h"

namespace npumoe {
namespace {

constexpr int kChunk = 64;
constexpr int kQuantum = 16;

double Draw(std::mt19937& random, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(random);
}

int DrawInt(std::mt19937& random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

// Costs with a weight floor on both engines, as the cost model has them.
RowCosts RandomCosts(std::mt19937& random) {
  RowCosts costs;
  costs.quantum = kQuantum;
  costs.launch_ms = Draw(random, 0, 0.6);
  costs.launch_j = costs.launch_ms * 2e-3;
  costs.dispatch_ms_per_row = Draw(random, 0, 0.0005);
  const double npu_floor_ms = Draw(random, 0, 0.15);
  const double npu_row_ms = Draw(random, 0.0005, 0.004);
  const double cpu_floor_ms = Draw(random, 0, 0.15);
  const double cpu_row_ms = Draw(random, 0.002, 0.01);
  for (int capacity = 0; capacity <= kChunk; capacity += kQuantum) {
    const double ms = capacity == 0 ? 0 : std::max(npu_floor_ms, capacity * npu_row_ms);
    costs.npu_ms.push_back(ms);
    costs.npu_j.push_back(ms * 4e-3);
  }
  for (int rows = 0; rows <= kChunk; ++rows) {
    costs.cpu_ms.push_back(rows == 0 ? 0 : std::max(cpu_floor_ms, rows * cpu_row_ms));
  }
  return costs;
}

LayerLoads RandomLoads(std::mt19937& random) {
  LayerLoads loads;
  loads.experts = DrawInt(random, 2, 8);
  loads.samples = DrawInt(random, 1, 8);
  loads.eligible.assign(static_cast<size_t>(loads.experts), true);
  std::gamma_distribution<double> popularity(0.7, 1.0);
  for (int expert = 0; expert < loads.experts; ++expert) {
    const double mean = std::min(50.0, popularity(random) * 20);
    std::poisson_distribution<int> load(mean);
    for (int k = 0; k < loads.samples; ++k) {
      loads.loads.push_back(std::min(kChunk, load(random)));
    }
  }
  return loads;
}

ScoreWeights RandomWeights(std::mt19937& random) {
  ScoreWeights weights;
  weights.overlapped = DrawInt(random, 0, 2) / 2.0;
  weights.cpu_base_ms = DrawInt(random, 0, 1) * Draw(random, 0, 0.3);
  if (DrawInt(random, 0, 2) == 0) weights = {5e-3, 30e-3, 1, weights.overlapped, 0.1, 0};
  return weights;
}

// Every third layer has a shared expert, on either engine.
FixedWork RandomFixedWork(unsigned seed) {
  std::mt19937 random(seed);
  FixedWork fixed;
  if (seed % 6 == 0) fixed.cpu_ms = Draw(random, 0.05, 1);
  if (seed % 6 == 3) fixed = {Draw(random, 0.1, 1), Draw(random, 0, 1e-3), 0, double{kChunk}};
  return fixed;
}

TEST(ExactSearch, OptimalLiesWithinOnePercentOnRandomSmallLayers) {
  double worst = 0;
  int on_npu = 0;
  for (unsigned seed = 1; seed <= 1000; ++seed) {
    std::mt19937 random(seed);
    const RowCosts costs = RandomCosts(random);
    const LayerProblem problem(costs, RandomLoads(random), DrawInt(random, 1, 8));
    ScoreWeights weights = RandomWeights(random);
    weights.fixed = RandomFixedWork(seed);
    const int programs = DrawInt(random, 1, 3);
    const LayerSolution exact = ExactSearch(problem, weights, programs);
    const LayerSolution found = SolveLayer(problem, weights, programs, {});
    const double excess = found.score / exact.score - 1;
    EXPECT_LE(excess, 0.01) << "seed " << seed;
    EXPECT_GE(excess, -1e-5) << "seed " << seed << ": exact search is not exact";
    worst = std::max(worst, excess);
    on_npu += *std::max_element(exact.levels.begin(), exact.levels.end()) > 0;
  }
  EXPECT_GT(on_npu, 100) << "the cases must not all be CPU work";
  RecordProperty("worst_excess_percent", std::to_string(worst * 100));
  std::printf("worst excess over the exact optimum: %.4f%%; with residents: %d of 1000\n",
              worst * 100, on_npu);
}

}  // namespace
}  // namespace npumoe
