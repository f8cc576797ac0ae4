// Filters work on candidates sorted by logit, so each one only shortens the list. Arithmetic is
// double and the uniform number is made from the generator's bits: the distributions of the
// standard library differ between implementations.
#include "kernels/sample/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/check.h"

namespace npumoe {
namespace {

struct Candidate {
  int32_t id;
  double logit;
};

// Sorting needs an order, which NaN has not.
float Ordered(float logit) {
  return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit;
}

// The `count` largest logits, larger first, smaller id first on ties.
std::vector<Candidate> Largest(std::span<const float> logits, size_t count) {
  std::vector<Candidate> candidates(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates[i] = {static_cast<int32_t>(i), double{Ordered(logits[i])}};
  }
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  const auto middle = candidates.begin() + static_cast<ptrdiff_t>(count);
  std::partial_sort(candidates.begin(), middle, candidates.end(), before);
  candidates.resize(count);
  return candidates;
}

// exp(scale * (logit - largest)), not normalised; candidates are sorted.
std::vector<double> Weights(std::span<const Candidate> candidates, double scale) {
  std::vector<double> weights(candidates.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = std::exp(scale * (candidates[i].logit - candidates[0].logit));
  }
  return weights;
}

// The shortest prefix whose share of the probability reaches top_p; at least one.
size_t CountTopP(std::span<const double> weights, double top_p) {
  const double target = top_p * std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (sum >= target) return i + 1;
  }
  return weights.size();
}

// The prefix with at least min_p times the largest probability (which has weight 1).
size_t CountMinP(std::span<const double> weights, double min_p) {
  size_t count = 1;
  while (count < weights.size() && weights[count] >= min_p) ++count;
  return count;
}

// Uniform in [0, 1): the 53 highest bits of one draw.
double Uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1.0p-53; }

}  // namespace

int32_t ArgMax(std::span<const float> logits) {
  NPUMOE_CHECK(!logits.empty());
  const auto below = [](float a, float b) { return Ordered(a) < Ordered(b); };
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end(), below) -
                              logits.begin());
}

Sampler::Sampler(const SamplingOptions& options, uint64_t seed) : options_(options), random_(seed) {
  NPUMOE_CHECK(std::isfinite(options.temperature));
}

int32_t Sampler::Sample(std::span<const float> logits) {
  NPUMOE_CHECK(!logits.empty());
  if (options_.temperature <= 0 || options_.top_k == 1) return ArgMax(logits);
  const bool all = options_.top_k <= 0;
  const size_t count =
      all ? logits.size() : std::min(logits.size(), static_cast<size_t>(options_.top_k));
  std::vector<Candidate> candidates = Largest(logits, count);
  if (!std::isfinite(candidates.front().logit)) return ArgMax(logits);
  std::vector<double> weights = Weights(candidates, 1.0);
  if (options_.top_p < 1) weights.resize(CountTopP(weights, double{options_.top_p}));
  if (options_.min_p > 0) weights.resize(CountMinP(weights, double{options_.min_p}));
  candidates.resize(weights.size());
  weights = Weights(candidates, 1.0 / double{options_.temperature});
  double remaining = Uniform(random_) * std::accumulate(weights.begin(), weights.end(), 0.0);
  for (size_t i = 0; i + 1 < weights.size(); ++i) {
    remaining -= weights[i];
    if (remaining < 0) return candidates[i].id;
  }
  return candidates.back().id;
}

}  // namespace npumoe
