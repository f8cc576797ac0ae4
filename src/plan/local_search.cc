#include "plan/local_search.h"

#include <algorithm>
#include <cmath>

namespace npumoe {
namespace {

// A move must gain this share of the score: below it is rounding of the float sums.
constexpr double kLeastGain = 1e-6;
// In a small problem every pair of moves is tried, with any levels. Beyond, pairs are tried among
// the moves that alone come closest to a gain. Chosen.
constexpr size_t kPairCandidates = 16;
// Safety stop; a search of 128 experts ends after about ten rounds.
constexpr int kMaxRounds = 200;

struct Move {
  LevelChange change;
  double score = 0;  // of the layer after it
};

class Search {
 public:
  Search(const LayerProblem& problem, const ScoreWeights& weights, const LayerSolution& start,
         int max_programs, int hold)
      : problem_(problem),
        hold_(hold),
        score_(problem, weights, start.levels),
        places_(max_programs * problem.experts_per_program()),
        current_(score_.Score()) {}

  LayerSolution Run() {
    for (int round = 0; round < kMaxRounds; ++round) {
      if (!SingleMoves() && !PairMoves()) break;
    }
    return score_.Solution();
  }

 private:
  bool Better(double score) const {
    return score < current_ - kLeastGain * std::max(1e-12, std::abs(current_));
  }
  bool MayJoin() const { return score_.residents() < places_; }

  bool Make(const Move& move) {
    if (!Better(move.score)) return false;
    score_.Apply(move.change);
    current_ = score_.Score();
    return true;
  }

  // The best level for an expert that is CPU work now.
  Move BestJoin(int expert) const {
    Move best{{expert, 0}, current_};
    for (int level = 1; level <= problem_.MaxLevel(expert); ++level) {
      const double score = score_.ScoreWith({expert, level});
      if (level == 1 || score < best.score) best = {{expert, level}, score};
    }
    return best;
  }

  Move Changed(int expert, int level) const {
    return {{expert, level}, score_.ScoreWith({expert, level})};
  }

  // Walks one expert downhill.
  bool Walk(int expert) {
    bool moved = false;
    if (score_.Level(expert) == 0) {
      return MayJoin() && problem_.MaxLevel(expert) > 0 && Make(BestJoin(expert));
    }
    while (score_.Level(expert) > 1 && Make(Changed(expert, score_.Level(expert) - 1))) {
      moved = true;
    }
    while (score_.Level(expert) < problem_.MaxLevel(expert) &&
           Make(Changed(expert, score_.Level(expert) + 1))) {
      moved = true;
    }
    return Make(Changed(expert, 0)) || moved;
  }

  bool SingleMoves() {
    bool moved = false;
    for (int expert = 0; expert < problem_.experts(); ++expert) {
      if (expert != hold_) moved = Walk(expert) || moved;
    }
    return moved;
  }

  // Every single move: in a small problem, all pairs can be tried.
  std::vector<Move> AllMoves() const {
    std::vector<Move> moves;
    for (int expert = 0; expert < problem_.experts(); ++expert) {
      if (expert == hold_) continue;
      for (int level = 0; level <= problem_.MaxLevel(expert); ++level) {
        if (level != score_.Level(expert)) moves.push_back({{expert, level}, 0});
      }
    }
    return moves;
  }

  // Single moves of every expert, the nearest to a gain first, a few of each kind.
  std::vector<Move> PairParts() const {
    if (problem_.IsSmall()) return AllMoves();
    std::vector<Move> ups, downs, joins, leaves;
    for (int expert = 0; expert < problem_.experts(); ++expert) {
      if (expert == hold_) continue;
      const int level = score_.Level(expert);
      if (level == 0 && problem_.MaxLevel(expert) > 0) joins.push_back(BestJoin(expert));
      if (level > 0) leaves.push_back(Changed(expert, 0));
      if (level > 1) downs.push_back(Changed(expert, level - 1));
      if (level > 0 && level < problem_.MaxLevel(expert)) ups.push_back(Changed(expert, level + 1));
    }
    std::vector<Move> parts;
    for (std::vector<Move>* kind : {&ups, &downs, &joins, &leaves}) {
      std::stable_sort(kind->begin(), kind->end(),
                       [](const Move& a, const Move& b) { return a.score < b.score; });
      kind->resize(std::min(kind->size(), kPairCandidates));
      parts.insert(parts.end(), kind->begin(), kind->end());
    }
    return parts;
  }

  bool PairMoves() {
    const std::vector<Move> parts = PairParts();
    for (size_t i = 0; i < parts.size(); ++i) {
      for (size_t j = i + 1; j < parts.size(); ++j) {
        if (MakePair(parts[i].change, parts[j].change)) return true;
      }
    }
    return false;
  }

  bool MakePair(LevelChange a, LevelChange b) {
    if (a.expert == b.expert) return false;
    const auto joins = [&](LevelChange c) { return (c.level > 0) - (score_.Level(c.expert) > 0); };
    if (score_.residents() + joins(a) + joins(b) > places_) return false;
    if (!Better(score_.ScoreWith(a, b))) return false;
    score_.Apply(a);
    score_.Apply(b);
    current_ = score_.Score();
    return true;
  }

  const LayerProblem& problem_;
  int hold_;
  LayerScore score_;
  int places_;
  double current_;
};

}  // namespace

LayerSolution ImproveLocally(const LayerProblem& problem, const ScoreWeights& weights,
                             const LayerSolution& start, int max_programs, int hold) {
  return Search(problem, weights, start, max_programs, hold).Run();
}

}  // namespace npumoe
