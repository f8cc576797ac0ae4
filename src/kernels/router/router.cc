#include "kernels/router/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "kernels/activation/activation.h"

namespace npumoe {
namespace {

// Below this many logits one thread is done before another one has woken up (chosen).
constexpr int64_t kMinParallelLogits = 1 << 13;
constexpr float kExcluded = -std::numeric_limits<float>::infinity();

// One token: its logits and where its choices go.
struct Token {
  std::span<const float> logits;
  std::span<int32_t> ids;  // [k]
  std::span<float> weights;
};

struct Scratch {
  AlignedBuffer<float> scores;        // [experts]
  AlignedBuffer<float> group_scores;  // of every group, then of those kept
  AlignedBuffer<int32_t> group_ids;   // [groups_kept]

  std::span<float> Scores(size_t experts) {
    scores.EnsureSize(experts);
    return {scores.data(), experts};
  }
};

// ids, weights [k]: the k largest of p, larger first, smaller index first on ties. One pass that
// inserts into the sorted choices; most experts fail the first comparison.
void TopK(std::span<const float> p, std::span<int32_t> ids, std::span<float> weights) {
  const size_t k = ids.size();
  size_t count = 0;
  for (size_t e = 0; e < p.size(); ++e) {
    if (count == k && !(p[e] > weights[k - 1])) continue;
    size_t place = count < k ? count++ : k - 1;
    for (; place > 0 && p[e] > weights[place - 1]; --place) {
      weights[place] = weights[place - 1];
      ids[place] = ids[place - 1];
    }
    weights[place] = p[e];
    ids[place] = static_cast<int32_t>(e);
  }
}

std::span<float> Probabilities(std::span<const float> logits, Scratch& scratch) {
  const std::span<float> p = scratch.Scores(logits.size());
  std::copy(logits.begin(), logits.end(), p.begin());
  Softmax(p);
  return p;
}

// Leaves only the experts of the best groups; the others get a score below every probability.
void KeepBestGroups(const RouterArgs& args, std::span<float> p, Scratch& scratch) {
  const auto groups = static_cast<size_t>(args.num_groups);
  const auto kept = static_cast<size_t>(args.groups_kept);
  const size_t size = p.size() / groups;
  scratch.group_scores.EnsureSize(groups + kept);
  scratch.group_ids.EnsureSize(kept);
  const std::span<float> best(scratch.group_scores.data(), groups);
  for (size_t g = 0; g < groups; ++g) {
    const auto members = p.subspan(g * size, size);
    best[g] = *std::max_element(members.begin(), members.end());
  }
  const std::span<int32_t> ids(scratch.group_ids.data(), kept);
  TopK(best, ids, {scratch.group_scores.data() + groups, kept});
  for (size_t g = 0; g < groups; ++g) {
    if (std::find(ids.begin(), ids.end(), static_cast<int32_t>(g)) != ids.end()) continue;
    const auto members = p.subspan(g * size, size);
    std::fill(members.begin(), members.end(), -1.0f);
  }
}

// The expert with the largest logit but `excluded` (-1: none), and its share among the logits
// close to it.
void ChooseSparsely(const Token& token, float jitter, int32_t excluded, size_t choice,
                    Scratch& scratch) {
  const std::span<const float> logits = token.logits;
  const auto barred = static_cast<size_t>(excluded);
  size_t best = barred == 0 ? 1 : 0;
  for (size_t e = best + 1; e < logits.size(); ++e) {
    if (e != barred && logits[e] > logits[best]) best = e;
  }
  const float max = logits[best];
  const std::span<float> close = scratch.Scores(logits.size());
  for (size_t e = 0; e < logits.size(); ++e) {
    // Written as the reference does it: 0 / 0 (the largest is 0) is not above the threshold.
    const bool far = (max - logits[e]) / std::max(std::fabs(logits[e]), max) > 2 * jitter;
    close[e] = far || e == barred ? kExcluded : logits[e];
  }
  Softmax(close);
  token.ids[choice] = static_cast<int32_t>(best);
  token.weights[choice] = close[best];
}

void Choose(const RouterArgs& args, const Token& token, Scratch& scratch) {
  switch (args.rule) {
    case RouterRule::kSoftmaxTopK:
      return TopK(Probabilities(token.logits, scratch), token.ids, token.weights);
    case RouterRule::kTopKSoftmax:
      TopK(token.logits, token.ids, token.weights);
      return Softmax(token.weights);
    case RouterRule::kSparseMixer:
      ChooseSparsely(token, args.jitter, -1, 0, scratch);
      return ChooseSparsely(token, args.jitter, token.ids[0], 1, scratch);
    case RouterRule::kGroupLimited: {
      const std::span<float> p = Probabilities(token.logits, scratch);
      KeepBestGroups(args, p, scratch);
      return TopK(p, token.ids, token.weights);
    }
  }
}

void RouteToken(const RouterArgs& args, const Token& token, Scratch& scratch) {
  Choose(args, token, scratch);
  const bool normalize = args.normalize && (args.rule == RouterRule::kSoftmaxTopK ||
                                            args.rule == RouterRule::kGroupLimited);
  if (normalize) {
    float sum = 0;
    for (const float w : token.weights) sum += w;
    for (float& w : token.weights) w /= sum;
  }
  if (args.scale == 1) return;
  for (float& w : token.weights) w *= args.scale;
}

void Check(const RouterArgs& args) {
  NPUMOE_CHECK(args.k > 0 && args.k <= args.logits.columns && args.choices >= args.k);
  NPUMOE_CHECK(args.ids.size() == static_cast<size_t>(args.logits.rows * args.choices));
  NPUMOE_CHECK(args.weights.size() == args.ids.size());
  NPUMOE_CHECK(args.rule != RouterRule::kSparseMixer || args.k == 2);
  if (args.rule != RouterRule::kGroupLimited) return;
  NPUMOE_CHECK(args.num_groups > 0 && args.logits.columns % args.num_groups == 0);
  NPUMOE_CHECK(args.groups_kept > 0 && args.groups_kept <= args.num_groups);
  NPUMOE_CHECK(args.k <= args.logits.columns / args.num_groups * args.groups_kept);
}

}  // namespace

void Route(const RouterArgs& args, ThreadPool& pool) {
  Check(args);
  const ConstMatrix& logits = args.logits;
  const auto body = [&](int64_t begin, int64_t end, int) {
    thread_local Scratch scratch;
    for (int64_t t = begin; t < end; ++t) {
      const auto first = static_cast<size_t>(t * args.choices);
      const auto k = static_cast<size_t>(args.k);
      const Token token{{logits.Row(t), static_cast<size_t>(logits.columns)},
                        args.ids.subspan(first, k),
                        args.weights.subspan(first, k)};
      RouteToken(args, token, scratch);
    }
  };
  if (logits.rows * logits.columns < kMinParallelLogits) return body(0, logits.rows, 0);
  pool.ParallelRanges(logits.rows, 1, body);
}

}  // namespace npumoe
