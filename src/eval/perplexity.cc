#include "eval/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/windows.h"

namespace npumoe {

void RunningMean::Add(double value) {
  ++count_;
  const double deviation = value - mean_;
  mean_ += deviation / static_cast<double>(count_);
  sum_of_squares_ += deviation * (value - mean_);
}

double RunningMean::StandardError() const {
  if (count_ < 2) return 0;
  const auto n = static_cast<double>(count_);
  return std::sqrt(sum_of_squares_ / (n - 1) / n);
}

double LogSumExp(std::span<const float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

double NegativeLogLikelihood(std::span<const float> logits, int32_t token) {
  return LogSumExp(logits) - logits[static_cast<size_t>(token)];
}

Status CheckWindows(const Session& session, size_t tokens, int64_t window_tokens,
                    int64_t least_windows) {
  if (window_tokens < 4) {
    return UsageError(fmt::format("a window of {} tokens; at least 4 are needed", window_tokens));
  }
  if (window_tokens > session.context_tokens()) {
    return UsageError(fmt::format("a window of {} tokens; the context holds {}", window_tokens,
                                  session.context_tokens()));
  }
  if (static_cast<int64_t>(tokens) < least_windows * window_tokens) {
    return InvalidInput(fmt::format(
        "the text has {} tokens; {} windows of {} need {}; give more text or a smaller window",
        tokens, least_windows, window_tokens, least_windows * window_tokens));
  }
  return OkStatus();
}

void ScoreWindow(std::span<const float> logits, std::span<const int32_t> ids, RunningMean& nll) {
  const size_t vocab = logits.size() / ids.size();
  for (size_t i = ids.size() / 2; i + 1 < ids.size(); ++i) {
    nll.Add(NegativeLogLikelihood(logits.subspan(i * vocab, vocab), ids[i + 1]));
  }
}

Result<PerplexityResult> MeasurePerplexity(
    Session& session, std::span<const int32_t> ids, const PerplexityWindows& wanted,
    const std::function<void(const WindowProgress&)>& progress) {
  NPUMOE_RETURN_IF_ERROR(CheckWindows(session, ids.size(), wanted.tokens, 2));
  PerplexityResult result;
  RunningMean nll;
  const auto size = static_cast<size_t>(wanted.tokens);
  auto windows = static_cast<int64_t>(ids.size() / size);
  if (wanted.most > 0) windows = std::min(windows, wanted.most);
  for (int64_t w = 0; w < windows; ++w) {
    const auto window = ids.subspan(static_cast<size_t>(w) * size, size);
    NPUMOE_RETURN_IF_ERROR(session.Rewind(0));
    NPUMOE_ASSIGN_OR_RETURN(const PrefillResult prefill,
                            session.Prefill(window, LogitsWanted::kAllRows));
    ScoreWindow(prefill.logits, window, nll);
    result.prefill_ms += prefill.time_ms;
    if (progress) progress({w + 1, windows, std::exp(nll.mean())});
  }
  NPUMOE_RETURN_IF_ERROR(session.Rewind(0));
  result.windows = windows;
  result.scored_tokens = nll.count();
  result.mean_nll = nll.mean();
  result.perplexity = std::exp(nll.mean());
  result.uncertainty = result.perplexity * nll.StandardError();
  return result;
}

}  // namespace npumoe
