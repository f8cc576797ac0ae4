// BrokenWeight: the search for the weight that made a run's numbers infinite or NaN. It reads every
// weight that it is asked about, so it is for messages only.
#pragma once

#include <optional>
#include <string>

#include "base/thread_pool.h"
#include "model/weights.h"

namespace npumoe {

struct SearchedWeights {
  int layers = 0;          // the first so many, behind the embedding
  bool with_head = false;  // final norm and head, too
};

// "layer 1, expert 3, up: element [2, 5] is nan", of the first tensor in the order of computation
// that holds NaN or infinity; none where all are finite.
std::optional<std::string> FindBrokenWeight(const ModelWeights& weights,
                                            const SearchedWeights& searched, ThreadPool& pool);

}  // namespace npumoe
