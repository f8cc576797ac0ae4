// Attention programs over a chunk and a history, which the reference kernels compute step by step.
#include <utility>

#include "graph/attention_program.h"
#include "runtime/conformance/attention_reference.h"
#include "runtime/conformance/conformance_case.h"
#include "runtime/conformance/conformance_values.h"

namespace npumoe {
namespace {

std::vector<AttentionTest> Classes() {
  const AttentionProgramShape plain{.hidden = 64,
                                    .num_heads = 4,
                                    .num_kv_heads = 4,
                                    .head_dim = 16,
                                    .value_dim = 16,
                                    .rotary_dim = 16,
                                    .scale = 0.25f};
  std::vector<AttentionTest> classes;
  const auto add = [&](const char* name, std::vector<int64_t> histories) -> AttentionTest& {
    return classes.emplace_back(AttentionTest{name, plain, std::move(histories)});
  };
  add("first chunk", {0});
  add("with history", {64});
  add("grouped queries", {32}).shape.num_kv_heads = 2;
  AttentionTest& per_head = add("norm of each head", {32});
  per_head.shape.num_kv_heads = 2;
  per_head.shape.head_norm = HeadNorm::kPerHead;
  per_head.shape.norm_epsilon = 1e-6f;
  AttentionTest& whole = add("norm of all heads, clip", {32});
  whole.shape.head_norm = HeadNorm::kWholeWidth;
  whole.shape.norm_epsilon = 1e-5f;
  whole.shape.clip_qkv = 0.9f;
  AttentionTest& sinks = add("sinks, biases, window", {32});
  sinks.shape.num_kv_heads = 2;
  sinks.has_sinks = sinks.has_biases = true;
  sinks.window = 12;
  AttentionTest& partial = add("rotates a part, short values", {32});
  partial.shape.rotary_dim = 8;
  partial.shape.value_dim = 8;
  AttentionTest& beside = add("rotates pairs side by side", {32});
  beside.shape.num_kv_heads = 2;
  beside.shape.rotary_pairs = RotaryPairs::kSideBySide;
  add("rotates nothing", {32}).shape.rotary_dim = 0;
  add("buckets of histories", {0, 32, 128}).shape.num_kv_heads = 2;
  return classes;
}

Result<AttentionProgramWeights> WeightsOf(const AttentionTest& test, WeightFormat format) {
  const AttentionProgramShape& shape = test.shape;
  const int64_t queries = shape.num_heads * shape.head_dim;
  const int64_t keys = shape.num_kv_heads * shape.head_dim;
  const int64_t values = shape.num_kv_heads * shape.value_dim;
  AttentionProgramWeights weights;
  NPUMOE_ASSIGN_OR_RETURN(weights.query, SeededMatrix(format, {queries, shape.hidden}, 500));
  NPUMOE_ASSIGN_OR_RETURN(weights.key, SeededMatrix(format, {keys, shape.hidden}, 501));
  NPUMOE_ASSIGN_OR_RETURN(weights.value, SeededMatrix(format, {values, shape.hidden}, 502));
  NPUMOE_ASSIGN_OR_RETURN(
      weights.output, SeededMatrix(format, {shape.hidden, shape.num_heads * shape.value_dim}, 503));
  if (test.has_biases) {
    weights.query_bias = SeededVector(504, 0, 0.3f);
    weights.key_bias = SeededVector(505, 0, 0.3f);
    weights.value_bias = SeededVector(506, 0, 0.3f);
    weights.output_bias = SeededVector(507, 0, 0.3f);
  }
  if (shape.head_norm != HeadNorm::kNone) {
    weights.query_norm = SeededVector(508, 1, 0.2f);
    weights.key_norm = SeededVector(509, 1, 0.2f);
  }
  if (test.has_sinks) weights.sinks = SinksOf(shape);
  return weights;
}

// Tables of the chunk's positions, and a mask whose oldest slots are empty.
NamedValues InputsOf(const AttentionTest& test, const AttentionExtent& extent) {
  const AttentionProgramShape& shape = test.shape;
  const AttentionRows rows = RowsOf(test, extent);
  NamedValues inputs;
  inputs["x"] = ChannelsFirst(rows.X(shape, extent));
  if (extent.history_tokens > 0) {
    inputs["keys"] = ChannelsFirst(rows.Keys(shape, extent));
    inputs["values"] = ChannelsFirst(rows.Values(shape, extent));
  }
  AddRotaryTables(shape.rotary_dim, extent, inputs);
  inputs["mask"] = MaskOf(test, extent);
  return inputs;
}

Result<std::vector<ConformanceFunction>> MakeFunctions(const AttentionTest& test,
                                                       WeightFormat format) {
  NPUMOE_ASSIGN_OR_RETURN(const AttentionProgramWeights weights, WeightsOf(test, format));
  std::vector<ConformanceFunction> functions;
  for (const int64_t history : test.histories) {
    const AttentionExtent extent{.chunk_tokens = 32, .history_tokens = history};
    NPUMOE_ASSIGN_OR_RETURN(Graph graph, BuildAttentionGraph(test.shape, weights, extent,
                                                             "history_" + std::to_string(history)));
    functions.push_back(
        {std::move(graph), InputsOf(test, extent),
         [test, extent](const Graph& stored) { return AttendReference(test, extent, stored); }});
  }
  return functions;
}

}  // namespace

// Tolerance. Keys and queries see at most four roundings in a row (product, norm, rotation, scale),
// of which 2^-11 of the largest value each is the bound. Logits here are below 8, where fp16 keeps
// multiples of 2^-7 to within 2^-8, and the masked sum rounds them once more: a share may be off by
// a factor of exp(2 * 2^-8) - 1 = 0.8% where both meet at their worst. The sum over some dozens of
// keys averages that to a half and less; the shares, the sum and the output add a rounding each:
// 5e-3 of the largest value. A wrong mask, head or angle is off by 10% and more.
std::vector<ConformanceCase> AttentionCases() {
  std::vector<ConformanceCase> cases;
  for (const AttentionTest& test : Classes()) {
    for (const WeightFormat format : kEveryFormat) {
      cases.push_back({"attention", test.name, format, std::nullopt, 5e-3 + WeightRounding(format),
                       [test, format] { return MakeFunctions(test, format); }});
    }
  }
  return cases;
}

}  // namespace npumoe
