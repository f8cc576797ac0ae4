// For every rule of the validator a graph that breaks it and one that just does not.
#pragma once

#include <limits>

#include "graph/testing/rule_graphs.h"
#include "graph/validator.h"

namespace npumoe::testing {

// Whether the emulated NPU can execute the graph that keeps the rule: it knows 1x1 convolutions
// with stride 1 and the operations of GraphBuilder.
enum class Emulated { kYes, kNo };

struct RulePair {
  std::string rule;
  GraphLimits limits;
  Graph broken;
  Graph kept;
  Emulated emulated = Emulated::kYes;
};

// Limits of which only this one is reached. Values are those of chips/*.toml where the graphs
// stay small.
template <class Limit, class T>
GraphLimits Only(Limit GraphLimits::*limit, T value) {
  GraphLimits limits;
  limits.max_axis = limits.max_channels = int64_t{1} << 40;
  limits.max_rank = Shape::kMaxRank;
  limits.*limit = value;
  return limits;
}

inline GraphLimits NoLimits() { return Only(&GraphLimits::max_rank, Shape::kMaxRank); }

inline std::vector<RulePair> ShapePairs() {
  const auto reshaped = [](std::vector<int32_t> shape) {
    return OneOperation(Shape{4, 32},
                        [&](GraphBuilder& b, const Value& x) { return b.Reshape("y", x, shape); });
  };
  const auto turned = [](std::vector<int32_t> perm) {
    return OneOperation(Shape{1, 4, 2, 32},
                        [&](GraphBuilder& b, const Value& x) { return b.Transpose("y", x, perm); });
  };
  const auto sum = [](int64_t width) {
    return OneOperation(Shape{1, 1024, 1, width}, [](GraphBuilder& b, const Value& x) {
      return b.Add("y", x, b.Silu("silu", x));
    });
  };
  const auto axis = Only(&GraphLimits::max_axis, 16384);
  const auto aligned = Only(&GraphLimits::last_axis_bytes, 64);
  return {
      {"rank-too-high", Only(&GraphLimits::max_rank, 5), reshaped({1, 1, 2, 1, 2, 32}),
       reshaped({1, 2, 1, 2, 32})},
      {"axis-too-long", axis, SiluOf({1, 1, 1, 16385}), SiluOf({1, 1, 1, 16384})},
      {"axis-too-long", axis, SiluOf({1, 1, 16385, 1}), SiluOf({1, 16385, 16384, 1})},
      {"axis-too-long", axis, MatMulByWeight({1, 2, 16385}, {16385, 2}),
       MatMulByWeight({1, 2, 16384}, {16384, 2})},
      {"channels-too-many", Only(&GraphLimits::max_channels, 16384), SiluOf({1, 16385, 1, 1}),
       SiluOf({1, 16384, 1, 1})},
      {"channels-too-many", Only(&GraphLimits::max_channels, 16384),
       ConvOf({{1, 2, 1, 1}, {16386, 1, 1, 1}, 2}), ConvOf({{1, 2, 1, 1}, {16384, 1, 1, 1}, 2})},
      {"batch-too-large", Only(&GraphLimits::max_batch, 65536), SiluOf({65537, 1, 1, 1}),
       SiluOf({65536, 1, 1, 1})},
      {"last-axis-unaligned", aligned, SiluOf({1, 4, 1, 48}), SiluOf({1, 4, 1, 64})},
      {"last-axis-single", aligned, SiluOf({1, 4, 1, 1}), SiluOf({1, 4, 1, 2})},
      {"last-axis-short", Only(&GraphLimits::min_last_axis, 16), SiluOf({1, 4, 1, 15}),
       SiluOf({1, 4, 1, 16})},
      {"last-axis-transposed", aligned, turned({0, 1, 3, 2}), turned({0, 2, 1, 3})},
      {"tile-exceeded", Only(&GraphLimits::tile_bytes, 2 << 20), SiluOf({1, 1024, 1, 1025}),
       SiluOf({1, 1024, 1, 1024})},
      // Two operands and a result of 2048 bytes a column.
      {"working-set", Only(&GraphLimits::working_set_bytes, 32 << 20), sum(5462), sum(5461)},
  };
}

inline std::vector<RulePair> TypePairs() {
  const auto cast_to = [](DType dtype) {
    return OneOperation({1, 4, 1, 32}, [&](GraphBuilder& b, const Value& x) {
      return b.Cast("y", b.Silu("silu", x), dtype);
    });
  };
  const auto masked = [](float value) {
    return OneOperation({1, 4, 1, 32}, [&](GraphBuilder& b, const Value& x) {
      return b.Add("y", x, b.Floats("mask", DType::kF16, Shape{1}, {value}));
    });
  };
  Graph flags = SiluOf({1, 4, 1, 32});
  flags.inputs.front().dtype = DType::kBool;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return {
      {"interface-type", NoLimits(), flags, SiluOf({1, 4, 1, 32})},
      {"interface-type", NoLimits(), cast_to(DType::kI8), cast_to(DType::kF32)},
      {"activation-type", Only(&GraphLimits::activation_types, std::vector<std::string>{"F16"}),
       SiluOf({1, 4, 1, 32}, DType::kF32), SiluOf({1, 4, 1, 32})},
      {"cast-to-int32", Only(&GraphLimits::refuses_int32_cast, true), cast_to(DType::kI32),
       cast_to(DType::kF32)},
      {"constant-not-finite", NoLimits(), masked(-kInfinity), masked(-65504.0f)},
      // Rounds to infinity in fp16, as a mask written for fp32 does.
      {"constant-not-finite", NoLimits(), masked(-1e9f), masked(-40000.0f)},
  };
}

inline std::vector<RulePair> OperationPairs() {
  const auto argmax = [](int64_t length) {
    Graph graph = OperationOf("reduce_argmax", {1, length});
    AddInts(graph, "axis", {1});
    graph.operations.front().inputs.push_back({"axis", {"axis"}});
    return graph;
  };
  const auto slice = [](std::vector<int32_t> begin) {
    return OneOperation({1, 4, 1, 64}, [&](GraphBuilder& b, const Value& x) {
      return b.Slice("y", x, begin, {1, 4, 1, 64});
    });
  };
  const auto joined = [](size_t branches) {
    return OneOperation({1, 4, 1, 32}, [&](GraphBuilder& b, const Value& x) {
      return b.Concat("y", std::vector<Value>(branches, x), 1);
    });
  };
  const Graph norm = OneOperation({1, 4, 1, 32}, [](GraphBuilder& b, const Value& x) {
    GraphBuilder::LayerNormOptions options;
    options.axes = {1};
    return b.LayerNorm("y", x, options);
  });
  const Graph written_norm = OneOperation({1, 4, 1, 32}, [](GraphBuilder& b, const Value& x) {
    const Value mean = b.ReduceMean("mean", b.Square("square", x), {1}, ReducedAxes::kKept);
    return b.Mul("y", x, b.Rsqrt("rsqrt", mean, 1e-5f));
  });
  Graph moving = slice({0, 0, 0, 0});
  moving.inputs.push_back({"at", DType::kI32, Shape{4}});
  moving = Rebound(std::move(moving), "begin", "at");
  const GraphLimits conv_engine = Only(&GraphLimits::prefers_convolutions, true);
  return {
      {"operation-unknown", NoLimits(), OperationOf("erf", {1, 32}), SiluOf({1, 32})},
      {"refused-operation",
       Only(&GraphLimits::refused_ops, std::vector<std::string>{"gather", "silu"}), SiluOf({1, 32}),
       OneOperation({1, 32}, [](GraphBuilder& b, const Value& x) { return b.Sigmoid("silu", x); })},
      {"state-in-graph", Only(&GraphLimits::refuses_state, true),
       OperationOf("coreml_update_state", {1, 32}), SiluOf({1, 32})},
      {"run-time-slice", Only(&GraphLimits::refuses_run_time_slices, true), moving,
       slice({0, 1, 0, 0})},
      {"arg-reduce-too-long", Only(&GraphLimits::max_arg_reduce, 2048), argmax(2049), argmax(2048),
       Emulated::kNo},
      {"slice-offset", Only(&GraphLimits::clamps_slices, true), slice({0, 0, 0, 32}),
       slice({0, 2, 0, 0})},
      {"fused-attention", conv_engine, OperationOf("scaled_dot_product_attention", {1, 32}),
       MatMulOf({1, 4, 32}, {1, 32, 4})},
      {"layer-norm", conv_engine, norm, written_norm},
      {"many-branches", Only(&GraphLimits::branches, 12), joined(12), joined(11)},
  };
}

inline std::vector<RulePair> ProductPairs() {
  Graph indivisible = ConvOf({{1, 4, 1, 32}, {4, 2, 1, 1}, 2});
  AddInts(indivisible, "three", {3});
  indivisible.constants["three"].spec.shape = Shape();
  indivisible = Rebound(std::move(indivisible), "groups", "three");
  const auto computed_weight = [](int64_t batch) {
    Graph graph = ConvOf({{batch, 4, 1, 32}, {4, 4, 1, 1}});
    graph.inputs.push_back(graph.constants.at("w").spec);
    graph.constants.erase("w");
    return graph;
  };
  const auto point = [] { return ConvOf({{1, 4, 1, 1}, {4, 4, 1, 1}}); };
  const GraphLimits width = Only(&GraphLimits::max_kernel_width, 16);
  const GraphLimits height = Only(&GraphLimits::max_kernel_height, 32);
  const GraphLimits strides = Only(&GraphLimits::conv_strides, std::vector<int64_t>{1, 2, 3, 4, 8});
  const GraphLimits groups = Only(&GraphLimits::group_products, 2048);
  const GraphLimits sums = Only(&GraphLimits::accurate_products, 5600);
  return {
      {"groups-not-dividing", NoLimits(), indivisible, ConvOf({{1, 4, 1, 32}, {4, 2, 1, 1}, 2})},
      {"kernel-too-large", width, ConvOf({{1, 4, 1, 48}, {4, 4, 1, 17}}),
       ConvOf({{1, 4, 1, 48}, {4, 4, 1, 16}}), Emulated::kNo},
      {"kernel-too-large", height, ConvOf({{1, 4, 48, 1}, {4, 4, 33, 1}}),
       ConvOf({{1, 4, 48, 1}, {4, 4, 32, 1}}), Emulated::kNo},
      {"stride-not-taken", strides, WithStrides(point(), {1, 5}), WithStrides(point(), {1, 4}),
       Emulated::kNo},
      {"run-time-weight", Only(&GraphLimits::max_run_time_weight_batch, 1), computed_weight(2),
       computed_weight(1), Emulated::kNo},
      {"product-depth", Only(&GraphLimits::max_product_depth, 1),
       MatMulOf({1, 2, 1, 4, 32}, {1, 2, 1, 32, 4}), MatMulOf({1, 1, 2, 4, 32}, {1, 1, 2, 32, 4})},
      {"groups-decomposed", groups, ConvOf({{1, 4098, 1, 32}, {2, 2049, 1, 1}, 2}),
       ConvOf({{1, 4096, 1, 32}, {2, 2048, 1, 1}, 2})},
      {"groups-uneven", Only(&GraphLimits::group_cores, 4),
       ConvOf({{1, 6, 1, 32}, {6, 2, 1, 1}, 3}), ConvOf({{1, 8, 1, 32}, {8, 2, 1, 1}, 4})},
      {"product-split", Only(&GraphLimits::kernel_memory_bytes, 65536),
       MatMulOf({1, 4, 128}, {1, 128, 257}), MatMulOf({1, 4, 128}, {1, 128, 256})},
      {"product-not-conv", Only(&GraphLimits::prefers_convolutions, true),
       MatMulByWeight({1, 4, 32}, {32, 8}), ConvOf({{1, 32, 1, 4}, {8, 32, 1, 1}})},
      {"inner-length", sums, ConvOf({{1, 5601, 1, 32}, {1, 5601, 1, 1}}),
       ConvOf({{1, 5600, 1, 32}, {1, 5600, 1, 1}})},
      {"inner-length", sums, MatMulOf({1, 2, 5601}, {1, 5601, 2}),
       MatMulOf({1, 2, 5600}, {1, 5600, 2})},
  };
}

inline std::vector<RulePair> WeightPairs() {
  const auto conv = [] { return ConvOf({{1, 64, 1, 32}, {8, 64, 1, 1}}); };
  const auto scaled = [&](const Shape& scale) { return WithScaledWeight(conv(), scale); };
  const auto table = [&](DType indices, const Shape& lut) {
    return WithTableWeight(conv(), indices, lut);
  };
  const auto strided = [](int32_t stride) {
    return WithStrides(
        WithTableWeight(ConvOf({{1, 64, 1, 1}, {8, 64, 1, 1}}), DType::kU4, {1, 1, 1, 1, 16, 1}),
        {1, stride});
  };
  Graph quantised = SiluOf({1, 4, 1, 32});
  quantised.operations.push_back(
      {"quantize", "q", {{"input", {"y"}}}, {{"q", DType::kI8, Shape{1, 4, 1, 32}}}});
  const std::vector<int64_t> bits = {1, 2, 3, 4, 6, 8};
  return {
      {"block-scales", Only(&GraphLimits::refuses_block_scales, true), scaled({8, 2, 1, 1}),
       scaled({8, 1, 1, 1})},
      {"int8-activations", Only(&GraphLimits::refuses_int8_activations, true), quantised,
       scaled({8, 1, 1, 1})},
      {"table-bits", Only(&GraphLimits::table_bits, bits), table(DType::kU6, {1, 1, 1, 1, 32, 1}),
       table(DType::kU6, {1, 1, 1, 1, 64, 1})},
      {"weights-expanded", Only(&GraphLimits::expands_int8, true), scaled({8, 1, 1, 1}),
       table(DType::kU4, {1, 1, 1, 1, 16, 1})},
      {"table-groups-small", Only(&GraphLimits::min_table_group, 4),
       table(DType::kU4, {4, 1, 1, 1, 16, 1}), table(DType::kU4, {2, 1, 1, 1, 16, 1})},
      {"table-stride", Only(&GraphLimits::max_table_stride, 2), strided(3), strided(2),
       Emulated::kNo},
      // 512 indices and 8 scales of two bytes.
      {"weight-split", Only(&GraphLimits::streamed_weight_bytes, 527), scaled({8, 1, 1, 1}),
       table(DType::kU4, {1, 1, 1, 1, 16, 1})},
      {"weight-split", Only(&GraphLimits::streamed_weight_bytes, 1024),
       ConvOf({{1, 57, 1, 32}, {9, 57, 1, 1}}), conv()},
  };
}

inline std::vector<RulePair> SizePairs() {
  const Graph large = ConvOf({{1, 64, 1, 32}, {9, 64, 1, 1}});  // 1152 bytes
  const Graph small = ConvOf({{1, 64, 1, 32}, {8, 64, 1, 1}});  // 1024 bytes, 2^15 flop
  // The file has a header of 64 bytes, and one for each weight.
  const GraphLimits file = Only(&GraphLimits::max_weight_file_bytes, 1024 + 128);
  return {
      {"program-too-large", Only(&GraphLimits::max_program_bytes, 1024), large, small},
      {"weight-file-too-large", file, large, small},
      {"slow-compile", Only(&GraphLimits::fast_compile_bytes, 1024), large, small},
      {"program-small", Only(&GraphLimits::placed_parameters, 9 * 64), small, large},
      {"launch-bound", Only(&GraphLimits::launch_flops, 2.0 * 9 * 64 * 32), small, large},
      {"system-too-old", Only(&GraphLimits::system_version, 14),
       WithScaledWeight(small, {8, 1, 1, 1}), small},
      {"system-too-old", Only(&GraphLimits::system_version, 12), small,
       SiluOf({1, 4, 1, 32}, DType::kF32)},
  };
}

inline std::vector<RulePair> RulePairs() {
  std::vector<RulePair> pairs;
  for (auto& some :
       {ShapePairs(), TypePairs(), OperationPairs(), ProductPairs(), WeightPairs(), SizePairs()}) {
    pairs.insert(pairs.end(), some.begin(), some.end());
  }
  return pairs;
}

}  // namespace npumoe::testing
