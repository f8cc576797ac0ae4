// Every operation on target CPU against the emulator, whose own tests hold it to the formulas. In
// fp32, so that only arithmetic is compared; one test has fp16 tensors.
#include <cmath>
#include <functional>

#include "npu/openvino/openvino_testing.h"

namespace npumoe::openvino {
namespace {

using Value = GraphBuilder::Value;
using Values = std::vector<Value>;
using npumoe::testing::RandomHalves;

// fp32 on both sides; sums of up to 64 terms in another order, exp of another library.
constexpr float kTolerance = 4e-6f;

struct Case {
  const char* name;
  std::vector<Shape> shapes;
  Value (*build)(GraphBuilder&, const Values&);
  enum Sign { kAny, kPositive } sign = kAny;
};

class OpenvinoOperation : public OpenvinoTest, public ::testing::WithParamInterface<Case> {};

Value Weight32(GraphBuilder& b, const char* name, const Shape& shape, uint32_t seed) {
  return b.Floats(name, DType::kF32, shape, RandomValues(shape.elements(), seed, 0.5f));
}

TEST_P(OpenvinoOperation, EqualsTheEmulator) {
  GraphBuilder b("main");
  Values values;
  for (const Shape& shape : GetParam().shapes) {
    values.push_back(b.Input("x" + std::to_string(values.size()), DType::kF32, shape));
  }
  b.Output(GetParam().build(b, values));
  const Result<Graph> graph = std::move(b).Finish();
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  std::vector<Floats> inputs = RandomInputs(*graph, 5, 3);
  if (GetParam().sign == Case::kPositive) {
    for (Floats& input : inputs) {
      for (float& value : input) value = std::abs(value) + 0.05f;
    }
  }
  ThreadPool pool(2);
  const auto expected = emulator::RunUnlimited(*graph, inputs);
  ASSERT_TRUE(expected.ok()) << expected.status().message();
  ExpectClose(RunOn(*OpenCpu(pool), *graph, inputs), *expected, kTolerance);
}

const Shape kX{2, 3, 1, 8};

INSTANTIATE_TEST_SUITE_P(
    Elementwise, OpenvinoOperation,
    ::testing::Values(
        Case{"Add", {kX, kX}, [](auto& b, const Values& v) { return b.Add("y", v[0], v[1]); }},
        Case{"AddBroadcast",
             {Shape{2, 1, 3}, Shape{2, 1}},
             [](auto& b, const Values& v) { return b.Add("y", v[0], v[1]); }},
        Case{"Sub", {kX, kX}, [](auto& b, const Values& v) { return b.Sub("y", v[0], v[1]); }},
        Case{"Mul", {kX, kX}, [](auto& b, const Values& v) { return b.Mul("y", v[0], v[1]); }},
        Case{"RealDiv",
             {kX, kX},
             [](auto& b, const Values& v) { return b.RealDiv("y", v[0], v[1]); },
             Case::kPositive},
        Case{"Maximum",
             {kX, kX},
             [](auto& b, const Values& v) { return b.Maximum("y", v[0], v[1]); }},
        Case{"Silu", {kX}, [](auto& b, const Values& v) { return b.Silu("y", v[0]); }},
        Case{"Sigmoid", {kX}, [](auto& b, const Values& v) { return b.Sigmoid("y", v[0]); }},
        Case{"Exp", {kX}, [](auto& b, const Values& v) { return b.Exp("y", v[0]); }},
        Case{"Sqrt",
             {kX},
             [](auto& b, const Values& v) { return b.Sqrt("y", v[0]); },
             Case::kPositive},
        Case{"Square", {kX}, [](auto& b, const Values& v) { return b.Square("y", v[0]); }},
        Case{"Abs", {kX}, [](auto& b, const Values& v) { return b.Abs("y", v[0]); }},
        Case{"Rsqrt",
             {kX},
             [](auto& b, const Values& v) { return b.Rsqrt("y", v[0], 0.5f); },
             Case::kPositive},
        Case{"Clip",
             {kX},
             [](auto& b, const Values& v) { return b.Clip("y", v[0], -1.5f, 0.75f); }}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Reductions, OpenvinoOperation,
    ::testing::Values(Case{"SoftmaxLast",
                           {kX},
                           [](auto& b, const Values& v) { return b.Softmax("y", v[0], -1); }},
                      Case{"SoftmaxChannels",
                           {kX},
                           [](auto& b, const Values& v) { return b.Softmax("y", v[0], 1); }},
                      Case{"MeanKept",
                           {kX},
                           [](auto& b, const Values& v) {
                             return b.ReduceMean("y", v[0], {1}, ReducedAxes::kKept);
                           }},
                      Case{"SumOfTwoAxes",
                           {kX},
                           [](auto& b, const Values& v) {
                             return b.ReduceSum("y", v[0], {0, -1}, ReducedAxes::kDropped);
                           }},
                      Case{"MaxOfAll",
                           {kX},
                           [](auto& b, const Values& v) {
                             return b.ReduceMax("y", v[0], {0, 1, 2, 3}, ReducedAxes::kDropped);
                           }},
                      Case{"LayerNormOfTwoAxes",
                           {Shape{2, 3, 4}},
                           [](auto& b, const Values& v) {
                             GraphBuilder::LayerNormOptions norm;
                             norm.axes = {0, 2};
                             norm.epsilon = 0.01f;
                             norm.gamma = Weight32(b, "gamma", Shape{2, 4}, 1);
                             norm.beta = Weight32(b, "beta", Shape{2, 4}, 2);
                             return b.LayerNorm("y", v[0], norm);
                           }},
                      Case{"LayerNormPlain",
                           {Shape{4, 16}},
                           [](auto& b, const Values& v) {
                             GraphBuilder::LayerNormOptions norm;
                             norm.axes = {-1};
                             return b.LayerNorm("y", v[0], norm);
                           }}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Layout, OpenvinoOperation,
    ::testing::Values(Case{"Reshape",
                           {kX},
                           [](auto& b, const Values& v) {
                             return b.Reshape("y", v[0], {4, -1});
                           }},
                      Case{"ExpandAndSqueeze",
                           {kX},
                           [](auto& b, const Values& v) {
                             return b.Squeeze("y", b.ExpandDims("e", v[0], {0, -1}), {0, 3});
                           }},
                      Case{"Transpose",
                           {kX},
                           [](auto& b, const Values& v) {
                             return b.Transpose("y", v[0], {3, -4, 2, 1});
                           }},
                      Case{"Slice",
                           {kX},
                           [](auto& b, const Values& v) {
                             return b.Slice("y", v[0], {0, 1, 0, 2}, {1, 3, 1, 7});
                           }},
                      Case{"Concat",
                           {kX, Shape{2, 2, 1, 8}},
                           [](auto& b, const Values& v) {
                             return b.Concat("y", {v[1], v[0], v[1]}, -3);
                           }},
                      Case{"Split",
                           {kX},
                           [](auto& b, const Values& v) {
                             const Values parts = b.Split("p", v[0], {5, 2, 1}, -1);
                             return b.Concat("y", {parts[2], parts[0], parts[1]}, 3);
                           }}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Products, OpenvinoOperation,
    ::testing::Values(Case{"MatMul",
                           {Shape{2, 3, 4}, Shape{1, 4, 5}},
                           [](auto& b, const Values& v) {
                             return b.MatMul("y", v[0], Operand::kAsIs, v[1], Operand::kAsIs);
                           }},
                      Case{"MatMulBothTransposed",
                           {Shape{2, 4, 3}, Shape{5, 4}},
                           [](auto& b, const Values& v) {
                             return b.MatMul("y", v[0], Operand::kTransposed, v[1],
                                             Operand::kTransposed);
                           }},
                      Case{"CastToHalfAndBack",
                           {kX},
                           [](auto& b, const Values& v) {
                             // Scaled by a power of two in between, so that the two casts cannot
                             // cancel.
                             const Value half = b.Cast("half", v[0], DType::kF16);
                             return b.Cast("y",
                                           b.Mul("m", half, b.Floats("c", DType::kF16, {}, {2.0f})),
                                           DType::kF32);
                           }}),
    [](const auto& test) { return test.param.name; });

class OpenvinoGraphs : public OpenvinoTest {};

// The emulator rounds every tensor to fp16, target CPU inputs and outputs only. The longest chain
// of EveryOperation has twelve tensors; half a unit in the last place each is 12 * 2^-11 = 6e-3,
// and half of that is what a chain of random roundings stays below.
TEST_F(OpenvinoGraphs, OfEveryOperationInFp16EqualTheEmulator) {
  const Graph graph = npumoe::testing::EveryOperation();
  const std::vector<Floats> inputs = RandomInputs(graph, 3);
  ThreadPool pool(2);
  const auto expected = emulator::RunUnlimited(graph, inputs);
  ASSERT_TRUE(expected.ok()) << expected.status().message();
  ExpectClose(RunOn(*OpenCpu(pool), graph, inputs), *expected, 3e-3f);
}

TEST_F(OpenvinoGraphs, ConvolveInEveryRankAndGroupingWithBias) {
  ThreadPool pool(2);
  const auto device = OpenCpu(pool);
  for (const Shape& x_shape : {Shape{2, 6, 5}, Shape{2, 6, 1, 5}, Shape{1, 6, 2, 1, 5}}) {
    for (const int64_t groups : {1, 2, 6}) {
      GraphBuilder b("main");
      const Value x = b.Input("x", DType::kF16, x_shape);
      std::vector<int64_t> filter = {12, 6 / groups};
      filter.resize(static_cast<size_t>(x_shape.rank()), 1);
      const Value w = b.Weight("w", DType::kF16, Shape(filter), RandomHalves(1, 0.5f));
      const Value bias = b.Weight("b", DType::kF16, Shape{12}, RandomHalves(2, 1.0f));
      b.Output(b.Conv("y", x, w, {groups, bias}));
      const Graph graph = *std::move(b).Finish();
      const std::vector<Floats> inputs = RandomInputs(graph, 7);
      const auto expected = emulator::RunUnlimited(graph, inputs);
      ASSERT_TRUE(expected.ok()) << expected.status().message();
      // One rounding to fp16 on each side of a border case: one unit in the last place.
      ExpectClose(RunOn(*device, graph, inputs), *expected, 0x1p-10f);
    }
  }
}

TEST_F(OpenvinoGraphs, TakeScalarsAndConstantOperandsOfBothKinds) {
  GraphBuilder b("main");
  const Value x = b.Input("x", DType::kF16, Shape{4, 8});
  const Value inside = b.Mul("m", x, b.Floats("c", DType::kF16, {}, {-1.5f}));
  const Value row = b.Weight("row", DType::kF16, Shape{1, 8}, RandomHalves(3, 1.0f));
  b.Output(b.Add("y", inside, row));
  const Graph graph = *std::move(b).Finish();
  const std::vector<Floats> inputs = RandomInputs(graph, 7);
  ThreadPool pool(2);
  const auto expected = emulator::RunUnlimited(graph, inputs);
  ASSERT_TRUE(expected.ok());
  ExpectClose(RunOn(*OpenCpu(pool), graph, inputs), *expected, 0x1p-10f);
}

}  // namespace
}  // namespace npumoe::openvino
