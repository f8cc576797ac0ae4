// Perplexity as llama-perplexity defines it: the text is cut into windows of `window_tokens` that
// do not overlap, the rest is left out; every window starts with an empty context; its second half
// is scored: positions n/2 .. n-2 predict the next token. PPL = exp(mean negative log-likelihood).
// (llama-perplexity puts a BOS token first where the tokenizer adds one; here the ids that are
// given decide.)
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/status.h"
#include "runtime/session.h"

namespace npumoe {

// Sum, mean and standard error of values that come one by one.
class RunningMean {
 public:
  void Add(double value);
  int64_t count() const { return count_; }
  double mean() const { return mean_; }
  // Of the mean; 0 for fewer than two values.
  double StandardError() const;

 private:
  int64_t count_ = 0;
  double mean_ = 0;
  double sum_of_squares_ = 0;  // of deviations from the mean
};

// -log softmax(logits)[token], in double.
double NegativeLogLikelihood(std::span<const float> logits, int32_t token);

struct PerplexityResult {
  int64_t windows = 0;
  int64_t scored_tokens = 0;
  double mean_nll = 0;
  double perplexity = 0;
  double uncertainty = 0;  // of the perplexity: its value times the standard error of the mean
  double prefill_ms = 0;   // sum of PrefillResult::time_ms
};

struct WindowProgress {
  int64_t done = 0;
  int64_t total = 0;
  double perplexity = 0;  // so far
};

struct PerplexityWindows {
  int64_t tokens = 0;  // of each
  int64_t most = 0;    // only the first so many; 0: all
};

// Leaves the session empty. Fails where `ids` hold fewer than two windows, as llama-perplexity does
// (of which it may be asked to use one), and for windows that do not fit the context.
Result<PerplexityResult> MeasurePerplexity(
    Session& session, std::span<const int32_t> ids, const PerplexityWindows& wanted,
    const std::function<void(const WindowProgress&)>& progress = {});

}  // namespace npumoe
