// Expert programs: the SwiGLU FFNs of several experts of one layer as one static graph.
//   y_e = down_e( act(gate_e x_e + gate_bias_e, up_e x_e + up_bias_e) ) + down_bias_e
// act is silu(gate) * up, or with a clamp limit L (gpt-oss)
//   (clamp(up, -L, L) + 1) * g * sigmoid(1.702 g),  g = min(gate, L).
//
// Biases are the convolutions' own in forms A and C, additions in form B.
//
// Form A (grouped convolution): one input x [1, G*H, 1, C], one output y [1, G*H, 1, C]; channel
//   g*H + h; all experts share the capacity C. Three conv with groups = G.
// Form B (batched matmul): x, y [G, C, H].
// Form C (dense chains): expert g has an input x_g [1, H, 1, C_g], an output y_g of the same shape
//   and a capacity of its own: nothing ties experts together but the launch.
// The weight bytes of the forms are identical: [expert][out][in], in any weight format. Where
// weights are stacked (forms A and B), all experts have the formats of the first; gate, up and
// down may differ.
//
// The same experts with other capacities are buckets: functions of one package, which share its
// weights (mlpackage.h).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "graph/graph.h"
#include "graph/weight_format.h"

namespace npumoe {

enum class GraphForm { kGroupedConv, kBatchedMatmul, kDenseChains };
const char* Name(GraphForm form);  // "A", "B", "C"
Result<GraphForm> ParseGraphForm(std::string_view text);

struct ExpertSlot {
  int expert = 0;        // index in the layer; names the weights
  int64_t capacity = 0;  // rows
  WeightMatrix gate;     // [I, H]
  WeightMatrix up;       // [I, H]
  WeightMatrix down;     // [H, I]
  // fp16 [I], [I], [H]; neither view nor producer: no bias. All experts of a program or none.
  WeightData gate_bias = {};
  WeightData up_bias = {};
  WeightData down_bias = {};
};

struct ExpertProgramShape {
  int64_t hidden = 0;
  int64_t intermediate = 0;
  float clamp_limit = 0;  // 0: silu(gate) * up
};

// Forms A and B need equal capacities. Fails (kUnsupported) when the form cannot take the slots.
Result<Graph> BuildExpertGraph(GraphForm form, const ExpertProgramShape& shape,
                               std::span<const ExpertSlot> experts,
                               const std::string& function_name = "main");

}  // namespace npumoe
