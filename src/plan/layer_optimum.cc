#include "plan/layer_optimum.h"

#include <algorithm>
#include <cmath>

#include "plan/capacity.h"
#include "plan/local_search.h"

namespace npumoe {
namespace {

// Candidates of the sweep to improve. Small layers are lumpy and cheap, so all are tried; with
// many experts the gap of the relaxation shrinks as 1 / experts.
size_t SweepStarts(const LayerProblem& problem) {
  if (problem.IsSmall()) return 24;
  return problem.experts() <= 40 ? 4 : 1;
}

int Residents(const std::vector<int>& levels) {
  return static_cast<int>(std::count_if(levels.begin(), levels.end(), [](int l) { return l > 0; }));
}

// Forces each single change upon a local optimum, lets the other experts answer it, then lets go;
// until no kick helps. Finds exchanges of three and more experts, which pairs miss in lumpy small
// layers.
LayerSolution Kick(const LayerProblem& problem, const ScoreWeights& weights, LayerSolution best,
                   int max_programs) {
  const int places = max_programs * problem.experts_per_program();
  bool better = true;
  while (better) {
    better = false;
    for (int expert = 0; expert < problem.experts() && !better; ++expert) {
      for (int level = 0; level <= problem.MaxLevel(expert) && !better; ++level) {
        LayerSolution kicked = best;
        kicked.levels[static_cast<size_t>(expert)] = level;
        if (Residents(kicked.levels) > places) continue;
        kicked = ImproveLocally(problem, weights, kicked, max_programs, expert);
        kicked = ImproveLocally(problem, weights, kicked, max_programs);
        better = kicked.score < best.score - 1e-6 * std::abs(best.score);
        if (better) best = std::move(kicked);
      }
    }
  }
  return best;
}

}  // namespace

LayerSolution SolveLayer(const LayerProblem& problem, const ScoreWeights& weights, int max_programs,
                         const std::vector<LayerSolution>& starts) {
  std::vector<LayerSolution> from =
      SweepCandidates(problem, weights, max_programs, PlannerMultipliers());
  from.resize(std::min(from.size(), SweepStarts(problem)));
  from.insert(from.end(), starts.begin(), starts.end());
  LayerSolution best;
  for (const LayerSolution& start : from) {
    LayerSolution improved = ImproveLocally(problem, weights, start, max_programs);
    if (best.levels.empty() || improved.score < best.score) best = std::move(improved);
  }
  if (problem.IsSmall()) best = Kick(problem, weights, best, max_programs);
  return best;
}

}  // namespace npumoe
