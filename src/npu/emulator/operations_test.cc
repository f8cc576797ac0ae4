// Every operation against its formula, in fp32 so that only arithmetic is compared; and the
// rounding of fp16 tensors by itself.
#include "npu/emulator/operations.h"

#include <cmath>
#include <functional>

#include "npu/emulator/emulator_testing.h"

namespace npumoe::emulator {
namespace {

using Value = GraphBuilder::Value;
using Floats = std::vector<float>;

// One graph of one output, made by `build` from its inputs.
Floats Compute(const std::vector<Shape>& shapes, const std::vector<Floats>& inputs,
               const std::function<Value(GraphBuilder&, const std::vector<Value>&)>& build,
               DType dtype = DType::kF32) {
  GraphBuilder b("main");
  std::vector<Value> values;
  for (size_t i = 0; i < shapes.size(); ++i) {
    values.push_back(b.Input("x" + std::to_string(i), dtype, shapes[i]));
  }
  b.Output(build(b, values));
  const Result<Graph> graph = std::move(b).Finish();
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  const auto outputs = RunUnlimited(*graph, inputs);
  EXPECT_TRUE(outputs.ok()) << outputs.status().message();
  return outputs.ok() ? outputs->front() : Floats();
}

Floats Count(int64_t elements) {
  Floats values;
  for (int64_t i = 0; i < elements; ++i) values.push_back(static_cast<float>(i));
  return values;
}

void ExpectNear(const Floats& actual, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], tolerance * (1 + std::abs(expected[i]))) << i;
  }
}

struct Unary {
  const char* name;
  Value (*build)(GraphBuilder&, const Value&);
  double (*formula)(double);
};

class UnaryOperation : public ::testing::TestWithParam<Unary> {};

TEST_P(UnaryOperation, ComputesItsFormula) {
  Floats x = RandomValues(3000, 5, 4);
  for (float& value : x) value = std::abs(value) + 0.01f;
  if (std::string(GetParam().name) != "Sqrt" && std::string(GetParam().name) != "Rsqrt") {
    for (size_t i = 0; i < x.size(); i += 2) x[i] = -x[i];
  }
  std::vector<double> expected;
  for (float value : x) expected.push_back(GetParam().formula(double{value}));
  // 1e-6: some units in the last place of fp32 for exp and the division.
  ExpectNear(Compute({Shape{3, 1000}}, {x},
                     [](GraphBuilder& b, const std::vector<Value>& v) {
                       return GetParam().build(b, v[0]);
                     }),
             expected, 1e-6);
}

INSTANTIATE_TEST_SUITE_P(
    All, UnaryOperation,
    ::testing::Values(
        Unary{"Silu", [](GraphBuilder& b, const Value& x) { return b.Silu("y", x); },
              [](double x) { return x / (1 + std::exp(-x)); }},
        Unary{"Sigmoid", [](GraphBuilder& b, const Value& x) { return b.Sigmoid("y", x); },
              [](double x) { return 1 / (1 + std::exp(-x)); }},
        Unary{"Exp", [](GraphBuilder& b, const Value& x) { return b.Exp("y", x); },
              [](double x) { return std::exp(x); }},
        Unary{"Sqrt", [](GraphBuilder& b, const Value& x) { return b.Sqrt("y", x); },
              [](double x) { return std::sqrt(x); }},
        Unary{"Rsqrt", [](GraphBuilder& b, const Value& x) { return b.Rsqrt("y", x, 0.5f); },
              [](double x) { return 1 / std::sqrt(x + 0.5); }},
        Unary{"Square", [](GraphBuilder& b, const Value& x) { return b.Square("y", x); },
              [](double x) { return x * x; }},
        Unary{"Abs", [](GraphBuilder& b, const Value& x) { return b.Abs("y", x); },
              [](double x) { return std::abs(x); }},
        Unary{"Clip", [](GraphBuilder& b, const Value& x) { return b.Clip("y", x, -1.5f, 0.75f); },
              [](double x) { return std::clamp(x, -1.5, 0.75); }}),
    [](const auto& test) { return test.param.name; });

TEST(Operations, BroadcastBothSidesOfASum) {
  const Floats sum =
      Compute({Shape{2, 1, 3}, Shape{2, 1}}, {Count(6), {10, 20}},
              [](GraphBuilder& b, const std::vector<Value>& v) { return b.Add("y", v[0], v[1]); });
  EXPECT_EQ(sum, (Floats{10, 11, 12, 20, 21, 22, 13, 14, 15, 23, 24, 25}));
}

TEST(Operations, SubtractDivideAndTakeTheMaximumInOrder) {
  const Floats result = Compute({Shape{2}, Shape{2}}, {{6, 1}, {2, 4}},
                                [](GraphBuilder& b, const std::vector<Value>& v) {
                                  const Value difference = b.Sub("d", v[0], v[1]);
                                  const Value ratio = b.RealDiv("r", v[0], v[1]);
                                  return b.Mul("y", b.Maximum("m", difference, ratio), v[1]);
                                });
  EXPECT_EQ(result, (Floats{8, 1}));  // max(4, 3) * 2, max(-3, 0.25) * 4
}

TEST(Operations, RoundEveryFp16TensorToNearestEven) {
  // 1 + 2^-11 lies between 1 and 1 + 2^-10: to even is 1. Added twice it stays 1 in fp16.
  const auto twice = [](GraphBuilder& b, const std::vector<Value>& v) {
    return b.Add("y", b.Add("once", v[0], v[1]), v[1]);
  };
  const std::vector<Floats> inputs = {{1.0f}, {0x1p-11f}};
  EXPECT_EQ(Compute({Shape{1}, Shape{1}}, inputs, twice, DType::kF16), (Floats{1.0f}));
  EXPECT_EQ(Compute({Shape{1}, Shape{1}}, inputs, twice, DType::kF32), (Floats{1.0f + 0x1p-10f}));
}

TEST(Operations, OverflowFp16ToInfinity) {
  const Floats y = Compute(
      {Shape{2}}, {{300, -200}},
      [](GraphBuilder& b, const std::vector<Value>& v) { return b.Square("y", v[0]); },
      DType::kF16);
  EXPECT_TRUE(std::isinf(y[0]));
  EXPECT_EQ(y[1], 40000.0f);
}

TEST(Operations, CastRoundsToFp16AndBack) {
  const Floats y =
      Compute({Shape{2}}, {{0.1f, 70000.0f}}, [](GraphBuilder& b, const std::vector<Value>& v) {
        return b.Cast("y", b.Cast("half", v[0], DType::kF16), DType::kF32);
      });
  EXPECT_EQ(y[0], RoundF16(0.1f));
  EXPECT_TRUE(std::isinf(y[1]));
}

// x [N, Cin, S] with weight [Cout, Cin / groups] and bias.
std::vector<double> ReferenceConv(const Floats& x, const Floats& w, const Floats& bias,
                                  const std::array<int64_t, 5>& sizes) {
  const auto [batches, in, spatial, out, groups] = sizes;
  std::vector<double> y;
  for (int64_t n = 0; n < batches; ++n) {
    for (int64_t o = 0; o < out; ++o) {
      const int64_t first = o / (out / groups) * (in / groups);
      for (int64_t s = 0; s < spatial; ++s) {
        double sum = double{bias[static_cast<size_t>(o)]};
        for (int64_t i = 0; i < in / groups; ++i) {
          sum += double{w[static_cast<size_t>(o * (in / groups) + i)]} *
                 x[static_cast<size_t>((n * in + first + i) * spatial + s)];
        }
        y.push_back(sum);
      }
    }
  }
  return y;
}

TEST(Operations, ConvolveGroupsBatchesAndBias) {
  const WeightData weight = npumoe::testing::RandomHalves(1, 0.5f);
  const WeightData bias = npumoe::testing::RandomHalves(2, 1.0f);
  const Floats x = RandomValues(2 * 6 * 10, 3);
  const Floats y = Compute(
      {Shape{2, 6, 2, 5}}, {x},
      [&](GraphBuilder& b, const std::vector<Value>& v) {
        const Value w = b.Weight("w", DType::kF16, Shape{4, 3, 1, 1}, weight);
        return b.Conv("y", v[0], w, {2, b.Weight("b", DType::kF16, Shape{4}, bias)});
      },
      DType::kF16);
  // fp16 inputs are exact; 2^-11 for the rounding of the result.
  ExpectNear(y, ReferenceConv(x, WeightFloats(weight, 12), WeightFloats(bias, 4), {2, 6, 10, 4, 2}),
             0x1p-11);
}

TEST(Operations, FollowAConvolutionInEitherOrderOfItsResult) {
  const WeightData weight = npumoe::testing::RandomHalves(1, 0.5f);
  const Floats x = RandomValues(3 * 4, 3);
  const auto build = [&](bool reordered) {
    return Compute(
        {Shape{1, 3, 1, 4}}, {x},
        [&](GraphBuilder& b, const std::vector<Value>& v) {
          const Value w = b.Weight("w", DType::kF16, Shape{3, 3, 1, 1}, weight);
          const Value first = b.Conv("first", v[0], w, {});
          // Adding to the input (row-major) forces a conversion, squaring does not.
          const Value next = reordered ? b.Sub("back", b.Add("sum", first, v[0]), v[0])
                                       : b.Maximum("max", first, first);
          return b.Conv("y", next, w, {});
        },
        DType::kF16);
  };
  const Floats straight = build(false);
  const Floats reordered = build(true);
  ASSERT_EQ(straight.size(), reordered.size());
  // The detour rounds twice to fp16 at magnitudes below 4: 2 * 2^-10 * |w| sums below 3 * 0.5.
  for (size_t i = 0; i < straight.size(); ++i) {
    EXPECT_NEAR(straight[i], reordered[i], 2 * 0x1p-10 * 1.5 + 0x1p-10) << i;
  }
}

TEST(Operations, MultiplyMatricesInEveryTransposition) {
  const Floats x = RandomValues(2 * 3 * 4, 1);  // [2, 3, 4]
  const Floats y = RandomValues(4 * 5, 2);      // [1, 4, 5], shared by both batches
  std::vector<double> expected;
  for (size_t n = 0; n < 2; ++n) {
    for (size_t i = 0; i < 3; ++i) {
      for (size_t j = 0; j < 5; ++j) {
        double sum = 0;
        for (size_t k = 0; k < 4; ++k) sum += double{x[(n * 3 + i) * 4 + k]} * y[k * 5 + j];
        expected.push_back(sum);
      }
    }
  }
  for (const Operand x_as : {Operand::kAsIs, Operand::kTransposed}) {
    for (const Operand y_as : {Operand::kAsIs, Operand::kTransposed}) {
      const Floats result = Compute(
          {Shape{2, 3, 4}, Shape{1, 4, 5}}, {x, y},
          [&](GraphBuilder& b, const std::vector<Value>& v) {
            const auto stored = [&](const char* name, const Value& value, Operand as) {
              return as == Operand::kAsIs ? value : b.Transpose(name, value, {0, 2, 1});
            };
            return b.MatMul("z", stored("xt", v[0], x_as), x_as, stored("yt", v[1], y_as), y_as);
          });
      ExpectNear(result, expected, 1e-6);
    }
  }
}

TEST(Operations, MultiplyWithAWeightInEitherOrder) {
  const WeightData weight = npumoe::testing::RandomHalves(1, 0.5f);
  const Floats w = WeightFloats(weight, 20);
  const Floats x = RandomValues(3 * 4, 2);
  for (const Operand as : {Operand::kAsIs, Operand::kTransposed}) {
    std::vector<double> expected;
    for (size_t i = 0; i < 3; ++i) {
      for (size_t j = 0; j < 5; ++j) {
        double sum = 0;
        for (size_t k = 0; k < 4; ++k) {
          sum += double{x[i * 4 + k]} * (as == Operand::kAsIs ? w[k * 5 + j] : w[j * 4 + k]);
        }
        expected.push_back(sum);
      }
    }
    const Floats result = Compute(
        {Shape{3, 4}}, {x},
        [&](GraphBuilder& b, const std::vector<Value>& v) {
          const Shape shape = as == Operand::kAsIs ? Shape{4, 5} : Shape{5, 4};
          return b.MatMul("z", v[0], Operand::kAsIs, b.Weight("w", DType::kF16, shape, weight), as);
        },
        DType::kF16);
    ExpectNear(result, expected, 0x1p-11);
  }
}

TEST(Operations, ApplyALinearLayerWithBias) {
  const WeightData weight = npumoe::testing::RandomHalves(1, 0.5f);
  const WeightData bias = npumoe::testing::RandomHalves(2, 0.5f);
  const Floats w = WeightFloats(weight, 20), offsets = WeightFloats(bias, 5);
  const Floats x = RandomValues(2 * 3 * 4, 2);
  std::vector<double> expected;
  for (size_t i = 0; i < 6; ++i) {
    for (size_t j = 0; j < 5; ++j) {
      double sum = double{offsets[j]};
      for (size_t k = 0; k < 4; ++k) sum += double{x[i * 4 + k]} * w[j * 4 + k];
      expected.push_back(sum);
    }
  }
  ExpectNear(Compute(
                 {Shape{2, 3, 4}}, {x},
                 [&](GraphBuilder& b, const std::vector<Value>& v) {
                   return b.Linear("z", v[0], b.Weight("w", DType::kF16, Shape{5, 4}, weight),
                                   b.Weight("b", DType::kF16, Shape{5}, bias));
                 },
                 DType::kF16),
             expected, 0x1p-11);
}

TEST(Operations, TransposeAxes) {
  const Floats y =
      Compute({Shape{2, 1, 3}}, {Count(6)}, [](GraphBuilder& b, const std::vector<Value>& v) {
        return b.Transpose("y", v[0], {2, 0, 1});
      });
  EXPECT_EQ(y, (Floats{0, 3, 1, 4, 2, 5}));
}

TEST(Operations, SliceRanges) {
  const Floats y =
      Compute({Shape{3, 4}}, {Count(12)}, [](GraphBuilder& b, const std::vector<Value>& v) {
        return b.Slice("y", v[0], {1, 1}, {3, 3});
      });
  EXPECT_EQ(y, (Floats{5, 6, 9, 10}));
}

TEST(Operations, SplitAndJoinAlongAnAxis) {
  const Floats y =
      Compute({Shape{2, 3}}, {Count(6)}, [](GraphBuilder& b, const std::vector<Value>& v) {
        const std::vector<Value> parts = b.Split("p", v[0], {1, 2}, 1);
        return b.Concat("y", {parts[1], parts[0]}, 1);
      });
  EXPECT_EQ(y, (Floats{1, 2, 0, 4, 5, 3}));
}

TEST(Operations, ReshapeWithoutMovingAnything) {
  const Floats y =
      Compute({Shape{2, 3}}, {Count(6)}, [](GraphBuilder& b, const std::vector<Value>& v) {
        const Value wide = b.ExpandDims("e", b.Reshape("r", v[0], {3, 2}), {1});
        return b.Add("y", b.Squeeze("s", wide, {1}), b.Squeeze("t", wide, {1}));
      });
  EXPECT_EQ(y, (Floats{0, 2, 4, 6, 8, 10}));
}

TEST(Operations, SoftmaxAlongAnyAxis) {
  for (const int axis : {0, 1, -1}) {
    const Floats x = RandomValues(2 * 3 * 4, 9, 8);
    const Floats y = Compute(
        {Shape{2, 3, 4}}, {x},
        [&](GraphBuilder& b, const std::vector<Value>& v) { return b.Softmax("y", v[0], axis); });
    const size_t stride = axis == 0 ? 12 : axis == 1 ? 4 : 1;
    const size_t length = axis == 0 ? 2 : axis == 1 ? 3 : 4;
    for (size_t i = 0; i < x.size(); ++i) {
      double sum = 0;
      const size_t first = i - i / stride % length * stride;
      for (size_t j = 0; j < length; ++j) sum += std::exp(double{x[first + j * stride]} - x[i]);
      EXPECT_NEAR(y[i], 1 / sum, 1e-6) << axis << " " << i;
    }
  }
}

TEST(Operations, ReduceSeveralAxes) {
  const auto reduce = [](const char* what) {
    return Compute({Shape{2, 2, 3}}, {Count(12)},
                   [&](GraphBuilder& b, const std::vector<Value>& v) {
                     if (*what == 'm') return b.ReduceMean("y", v[0], {0, 2}, ReducedAxes::kKept);
                     if (*what == 's') return b.ReduceSum("y", v[0], {-1}, ReducedAxes::kDropped);
                     return b.ReduceMax("y", v[0], {0}, ReducedAxes::kDropped);
                   });
  };
  EXPECT_EQ(reduce("mean"), (Floats{4, 7}));
  EXPECT_EQ(reduce("sum"), (Floats{3, 12, 21, 30}));
  EXPECT_EQ(reduce("largest"), (Floats{6, 7, 8, 9, 10, 11}));
}

TEST(Operations, NormaliseOverTheListedAxes) {
  const Floats x = RandomValues(2 * 3 * 4, 11, 3);
  const Floats y = Compute({Shape{2, 3, 4}}, {x}, [](GraphBuilder& b, const std::vector<Value>& v) {
    GraphBuilder::LayerNormOptions options;
    options.axes = {1};
    options.epsilon = 0.25f;
    options.gamma = b.Floats("gamma", DType::kF32, Shape{3}, {1, 2, 3});
    options.beta = b.Floats("beta", DType::kF32, Shape{3}, {0, 0, 5});
    return b.LayerNorm("y", v[0], options);
  });
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t first = i / 12 * 12 + i % 4, at = i / 4 % 3;
    double mean = 0, variance = 0;
    for (size_t j = 0; j < 3; ++j) mean += x[first + 4 * j] / 3.0;
    for (size_t j = 0; j < 3; ++j) variance += std::pow(x[first + 4 * j] - mean, 2) / 3.0;
    const double scaled = (x[i] - mean) / std::sqrt(variance + 0.25);
    EXPECT_NEAR(y[i], scaled * static_cast<double>(at + 1) + (at == 2 ? 5 : 0), 1e-5) << i;
  }
}

TEST(Operations, OfTheBuilderAllExecute) {
  const auto outputs =
      RunUnlimited(npumoe::testing::EveryOperation(), {RandomValues(48, 1), RandomValues(48, 2)});
  ASSERT_TRUE(outputs.ok()) << outputs.status().message();
  for (const Floats& output : *outputs) {
    for (float value : output) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(Operations, RefuseAKernelLargerThanOne) {
  GraphBuilder b("main");
  const Value x = b.Input("x", DType::kF16, Shape{1, 2, 1, 8});
  const Value w =
      b.Weight("w", DType::kF16, Shape{2, 2, 1, 3}, npumoe::testing::RandomHalves(1, 1));
  b.Output(b.Conv("y", x, w, {}));
  const Status status = RunUnlimited(*std::move(b).Finish(), {RandomValues(16, 1)}).status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("1x1 convolutions"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace npumoe::emulator
