// Validator: what a device's limits say about a graph, before minutes of compiling. One rule per
// limit, with an id, what was found, why it is so (source) and what to do. The table of all rules:
// validator/rules.h; as text: docs/validator-rules.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/graph.h"

namespace npumoe {

// The limits of a chip, from its profile (chips/README.md describes each). Those of the second
// part are not every device's: 0, false or an empty list says that there is no such limit.
struct GraphLimits {
  int64_t max_axis = 16384;      // height and width: the last two axes of a tensor
  int64_t max_channels = 16384;  // the axis before them; both channel axes of weights
  int max_rank = 5;
  int64_t max_program_bytes = int64_t{1} << 30;
  int64_t max_weight_file_bytes = int64_t{1} << 31;
  std::vector<std::string> refused_ops;

  // Shapes.
  int64_t max_batch = 0;
  int64_t last_axis_bytes = 0;  // to which the last axis is padded
  int64_t min_last_axis = 0;    // elements
  int64_t tile_bytes = 0;
  int64_t working_set_bytes = 0;
  // Types.
  std::vector<std::string> activation_types;  // "F16", "I8"
  bool refuses_int32_cast = false;
  // Operations.
  bool prefers_convolutions = false;  // to matrix products, fused attention, layer_norm
  bool refuses_state = false;
  bool refuses_run_time_slices = false;
  int64_t max_run_time_weight_batch = 0;
  int64_t max_kernel_width = 0;
  int64_t max_kernel_height = 0;
  std::vector<int64_t> conv_strides;
  int64_t max_arg_reduce = 0;
  int64_t max_product_depth = 0;  // of rank 5: the second axis
  int64_t kernel_memory_bytes = 0;
  int64_t accurate_products = 0;  // in one sum
  int64_t group_products = 0;     // in one sum of a grouped convolution
  int64_t group_cores = 0;
  int64_t branches = 0;
  bool clamps_slices = false;
  // Weights.
  bool refuses_block_scales = false;
  bool refuses_int8_activations = false;
  bool expands_int8 = false;
  std::vector<int64_t> table_bits;
  int64_t min_table_group = 0;
  int64_t max_table_stride = 0;
  int64_t streamed_weight_bytes = 0;
  // Sizes.
  int64_t fast_compile_bytes = 0;
  int64_t placed_parameters = 0;
  int64_t system_version = 0;  // that the chip's machine runs
  double launch_flops = 0;     // that the chip could do during a launch
};

enum class Severity { kError, kWarning };

struct Violation {
  std::string rule;  // "axis-too-long"
  Severity severity = Severity::kError;
  std::string found;
  std::string why;
  std::string remedy;
};

// What is known of the package that the graph belongs to.
struct PackageFacts {
  int64_t functions = 1;
  int64_t weight_file_bytes = 0;  // 0: not written yet
};

// In the order of the table.
std::vector<Violation> ValidateGraph(const Graph& graph, const GraphLimits& limits,
                                     const PackageFacts& package = {});
// The errors among them as one kUnsupported status, or ok.
Status RefusalOf(const std::vector<Violation>& violations);

}  // namespace npumoe
