// KL divergence and agreement of two sources of logits for the same tokens: a session on a device
// against the CPU session, window by window.
//   KL(p || q) = sum_v p_v (log p_v - log q_v),  p from the reference, q from the candidate
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/status.h"
#include "eval/perplexity.h"
#include "runtime/session.h"

namespace npumoe {

struct RowComparison {
  double kl = 0;
  bool same_top = false;  // both have their largest logit at the same token
};
RowComparison CompareRow(std::span<const float> reference, std::span<const float> candidate);

struct ComparisonResult {
  int64_t windows = 0;
  int64_t rows = 0;  // every position of every window
  double mean_kl = 0;
  double kl_standard_error = 0;
  double max_kl = 0;
  std::vector<double> row_kl;  // [rows]
  double top1_agreement = 0;   // share of the rows
  double max_logit_error = 0;  // largest difference over the largest reference logit
  // Of the token that really comes next: change of its probability, candidate minus reference.
  double mean_next_probability_change = 0;
  double rms_next_probability_change = 0;
  // Over the scored half of each window, as in perplexity.h.
  double reference_perplexity = 0;
  double candidate_perplexity = 0;
  DispatchCounts counts;  // of the candidate
  double reference_ms = 0;
  double candidate_ms = 0;  // sums of PrefillResult::time_ms
  double candidate_npu_energy_j = 0;
};

// One window or more; what does not fill a window is left out. Leaves both sessions empty.
Result<ComparisonResult> CompareSessions(
    Session& reference, Session& candidate, std::span<const int32_t> ids, int64_t window_tokens,
    const std::function<void(const WindowProgress&)>& progress = {});

}  // namespace npumoe
