// Validator: what a device's limits say about a graph, before minutes of compiling. One rule per
// limit, with an id, what was found, why it is so (source) and what to do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace npumoe {

struct GraphLimits {
  int64_t max_axis = 16384;
  int max_rank = 5;
  int64_t max_program_bytes = int64_t{1} << 30;
  int64_t max_weight_file_bytes = int64_t{1} << 31;
  std::vector<std::string> refused_ops;
};

enum class Severity { kError, kWarning };

struct Violation {
  std::string rule;  // "axis-too-long"
  Severity severity = Severity::kError;
  std::string found;
  std::string why;
  std::string remedy;
};

std::vector<Violation> ValidateGraph(const Graph& graph, const GraphLimits& limits);
// The errors among them as one kUnsupported status, or ok.
Status RefusalOf(const std::vector<Violation>& violations);

}  // namespace npumoe
