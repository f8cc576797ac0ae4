#include "eval/kl.h"

#include <algorithm>
#include <cmath>

#include "eval/windows.h"

namespace npumoe {
namespace {

size_t TopOf(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Sums over all rows of all windows.
struct Totals {
  RunningMean kl;
  std::vector<double> row_kl;
  RunningMean probability_change;
  RunningMean squared_probability_change;
  RunningMean reference_nll;
  RunningMean candidate_nll;
  int64_t same_top = 0;
  double max_kl = 0;
  double max_difference = 0;
  double max_logit = 0;

  void AddRow(std::span<const float> reference, std::span<const float> candidate) {
    const RowComparison row = CompareRow(reference, candidate);
    kl.Add(row.kl);
    row_kl.push_back(row.kl);
    max_kl = std::max(max_kl, row.kl);
    same_top += row.same_top ? 1 : 0;
    for (size_t v = 0; v < reference.size(); ++v) {
      max_difference = std::max<double>(max_difference, std::abs(candidate[v] - reference[v]));
      max_logit = std::max<double>(max_logit, std::abs(reference[v]));
    }
  }

  void AddNextToken(std::span<const float> reference, std::span<const float> candidate,
                    int32_t next) {
    const double change = std::exp(-NegativeLogLikelihood(candidate, next)) -
                          std::exp(-NegativeLogLikelihood(reference, next));
    probability_change.Add(change);
    squared_probability_change.Add(change * change);
  }

  void AddWindow(std::span<const float> reference, std::span<const float> candidate,
                 std::span<const int32_t> ids) {
    const size_t vocab = reference.size() / ids.size();
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto reference_row = reference.subspan(i * vocab, vocab);
      const auto candidate_row = candidate.subspan(i * vocab, vocab);
      AddRow(reference_row, candidate_row);
      if (i + 1 < ids.size()) AddNextToken(reference_row, candidate_row, ids[i + 1]);
    }
    ScoreWindow(reference, ids, reference_nll);
    ScoreWindow(candidate, ids, candidate_nll);
  }

  void WriteTo(ComparisonResult& result) const {
    result.rows = kl.count();
    result.mean_kl = kl.mean();
    result.kl_standard_error = kl.StandardError();
    result.max_kl = max_kl;
    result.row_kl = row_kl;
    result.top1_agreement = static_cast<double>(same_top) / static_cast<double>(kl.count());
    result.max_logit_error = max_logit == 0 ? max_difference : max_difference / max_logit;
    result.mean_next_probability_change = probability_change.mean();
    result.rms_next_probability_change = std::sqrt(squared_probability_change.mean());
    result.reference_perplexity = std::exp(reference_nll.mean());
    result.candidate_perplexity = std::exp(candidate_nll.mean());
  }
};

Status CompareWindow(Session& reference, Session& candidate, std::span<const int32_t> window,
                     Totals& totals, ComparisonResult& result) {
  NPUMOE_RETURN_IF_ERROR(reference.Rewind(0));
  NPUMOE_RETURN_IF_ERROR(candidate.Rewind(0));
  NPUMOE_ASSIGN_OR_RETURN(const PrefillResult wanted,
                          reference.Prefill(window, LogitsWanted::kAllRows));
  NPUMOE_ASSIGN_OR_RETURN(const PrefillResult got,
                          candidate.Prefill(window, LogitsWanted::kAllRows));
  totals.AddWindow(wanted.logits, got.logits, window);
  result.counts += got.counts;
  result.reference_ms += wanted.time_ms;
  result.candidate_ms += got.time_ms;
  result.candidate_npu_energy_j += got.npu_energy_j;
  return OkStatus();
}

}  // namespace

RowComparison CompareRow(std::span<const float> reference, std::span<const float> candidate) {
  const double reference_sum = LogSumExp(reference);
  const double candidate_sum = LogSumExp(candidate);
  double kl = 0;
  for (size_t v = 0; v < reference.size(); ++v) {
    const double log_p = reference[v] - reference_sum;
    kl += std::exp(log_p) * (log_p - (candidate[v] - candidate_sum));
  }
  // Never negative in exact arithmetic; rounding of nearly equal rows may leave -1e-17.
  return {std::max(kl, 0.0), TopOf(reference) == TopOf(candidate)};
}

Result<ComparisonResult> CompareSessions(
    Session& reference, Session& candidate, std::span<const int32_t> ids, int64_t window_tokens,
    const std::function<void(const WindowProgress&)>& progress) {
  NPUMOE_RETURN_IF_ERROR(CheckWindows(reference, ids.size(), window_tokens, 1));
  NPUMOE_RETURN_IF_ERROR(CheckWindows(candidate, ids.size(), window_tokens, 1));
  ComparisonResult result;
  Totals totals;
  const auto size = static_cast<size_t>(window_tokens);
  result.windows = static_cast<int64_t>(ids.size() / size);
  for (int64_t w = 0; w < result.windows; ++w) {
    NPUMOE_RETURN_IF_ERROR(CompareWindow(
        reference, candidate, ids.subspan(static_cast<size_t>(w) * size, size), totals, result));
    if (progress) progress({w + 1, result.windows, std::exp(totals.candidate_nll.mean())});
  }
  NPUMOE_RETURN_IF_ERROR(reference.Rewind(0));
  NPUMOE_RETURN_IF_ERROR(candidate.Rewind(0));
  totals.WriteTo(result);
  return result;
}

}  // namespace npumoe
