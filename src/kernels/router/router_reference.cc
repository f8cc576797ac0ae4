#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "kernels/router/router.h"

namespace npumoe {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

std::vector<float> SoftmaxOf(const std::vector<float>& scores) {
  const float max = *std::max_element(scores.begin(), scores.end());
  std::vector<float> p(scores.size());
  float sum = 0;
  for (size_t e = 0; e < p.size(); ++e) sum += p[e] = std::exp(scores[e] - max);
  for (float& value : p) value /= sum;
  return p;
}

// Indices by falling score, the smaller index first on ties.
std::vector<size_t> Ranking(const std::vector<float>& scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&scores](size_t a, size_t b) { return scores[a] > scores[b]; });
  return order;
}

struct Choice {
  size_t id;
  float weight;
};

std::vector<Choice> TopKOf(const std::vector<float>& scores, int k) {
  std::vector<Choice> choices;
  for (const size_t id : Ranking(scores)) choices.push_back({id, scores[id]});
  choices.resize(static_cast<size_t>(k));
  return choices;
}

std::vector<float> OnlyBestGroups(const RouterArgs& args, const std::vector<float>& p) {
  const size_t size = p.size() / static_cast<size_t>(args.num_groups);
  std::vector<float> best(static_cast<size_t>(args.num_groups), 0);
  for (size_t e = 0; e < p.size(); ++e) best[e / size] = std::max(best[e / size], p[e]);
  std::vector<float> kept(p.size(), -1);
  for (const Choice& group : TopKOf(best, args.groups_kept)) {
    for (size_t e = group.id * size; e < (group.id + 1) * size; ++e) kept[e] = p[e];
  }
  return kept;
}

// The best of `scores`, where those already chosen are excluded.
Choice SparseChoice(const std::vector<float>& scores, float jitter) {
  const size_t best = Ranking(scores)[0];
  const float max = scores[best];
  std::vector<float> masked = scores;
  for (float& s : masked) {
    if (s != kExcluded && (max - s) / std::max(std::fabs(s), max) > 2 * jitter) s = kExcluded;
  }
  return {best, SoftmaxOf(masked)[best]};
}

std::vector<Choice> ChooseReference(const RouterArgs& args, std::vector<float> logits) {
  switch (args.rule) {
    case RouterRule::kSoftmaxTopK:
      return TopKOf(SoftmaxOf(logits), args.k);
    case RouterRule::kTopKSoftmax: {
      std::vector<Choice> choices = TopKOf(logits, args.k);
      std::vector<float> chosen;
      for (const Choice& c : choices) chosen.push_back(c.weight);
      chosen = SoftmaxOf(chosen);
      for (size_t i = 0; i < choices.size(); ++i) choices[i].weight = chosen[i];
      return choices;
    }
    case RouterRule::kSparseMixer: {
      const Choice first = SparseChoice(logits, args.jitter);
      logits[first.id] = kExcluded;
      return {first, SparseChoice(logits, args.jitter)};
    }
    case RouterRule::kGroupLimited:
      return TopKOf(OnlyBestGroups(args, SoftmaxOf(logits)), args.k);
  }
  NPUMOE_CHECK(false && "a routing rule");
  return {};
}

}  // namespace

void RouteReference(const RouterArgs& args) {
  const bool normalize = args.normalize && (args.rule == RouterRule::kSoftmaxTopK ||
                                            args.rule == RouterRule::kGroupLimited);
  for (int64_t t = 0; t < args.logits.rows; ++t) {
    const float* row = args.logits.Row(t);
    std::vector<Choice> choices = ChooseReference(args, {row, row + args.logits.columns});
    float sum = 0;
    for (const Choice& c : choices) sum += c.weight;
    const auto first = static_cast<size_t>(t * args.choices);
    for (size_t i = 0; i < choices.size(); ++i) {
      const float weight = normalize ? choices[i].weight / sum : choices[i].weight;
      args.ids[first + i] = static_cast<int32_t>(choices[i].id);
      args.weights[first + i] = weight * args.scale;
    }
  }
}

}  // namespace npumoe
