// Pieces that perplexity and comparison share: what a window of text must be, and its score.
#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"
#include "eval/perplexity.h"
#include "runtime/session.h"

namespace npumoe {

// log sum_v exp(logits[v]), in double.
double LogSumExp(std::span<const float> logits);
Status CheckWindows(const Session& session, size_t tokens, int64_t window_tokens,
                    int64_t least_windows);
// Adds the negative log-likelihoods of the second half: rows n/2 .. n-2 predict the next token.
// logits [ids, vocab].
void ScoreWindow(std::span<const float> logits, std::span<const int32_t> ids, RunningMean& nll);

}  // namespace npumoe
