// Head programs: logits of the vocabulary as a static graph, in slices along the vocabulary that
// stay below the device's axis limit.
//   input   x         [1, hidden, 1, R]      normed hidden rows
//   outputs logits_i  [1, slice_i, 1, R]     i ascending; together the vocabulary
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/graph.h"
#include "graph/weight_format.h"

namespace npumoe {

struct HeadProgramShape {
  int64_t hidden = 0;
  int64_t vocabulary = 0;
  int64_t rows = 0;               // R
  int64_t max_slice_entries = 0;  // of the vocabulary in one output
};

struct HeadSlice {
  int64_t first = 0;
  int64_t entries = 0;
};
// Equal slices as far as possible, ascending.
std::vector<HeadSlice> HeadSlices(const HeadProgramShape& shape);

struct HeadWeights {
  std::vector<WeightMatrix> slices;  // [entries, hidden] each, as HeadSlices says
  std::vector<WeightData> biases;    // fp16 [entries] each, or empty
};

Result<Graph> BuildHeadGraph(const HeadProgramShape& shape, const HeadWeights& weights,
                             const std::string& function_name = "main");

}  // namespace npumoe
