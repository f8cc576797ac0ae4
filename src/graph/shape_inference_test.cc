// Every expectation is worked out by hand from the MIL definition of the operation.
#include "graph/shape_inference.h"

#include <gtest/gtest.h>

namespace npumoe {
namespace {

// One operation over values that are declared on the spot.
class Case {
 public:
  explicit Case(const std::string& type) { operation_ = {type, "op", {}, {}}; }

  Case& Tensor(const std::string& parameter, const Shape& shape, DType dtype = DType::kF16) {
    return Bind(parameter, {NextName(), dtype, shape}, nullptr);
  }
  Case& Weight(const std::string& parameter, const Shape& shape, DType dtype = DType::kF16) {
    return Constant(parameter, {NextName(), dtype, shape}, WeightData{});
  }
  Case& Ints(const std::string& parameter, const std::vector<int32_t>& values) {
    return Constant(parameter, {NextName(), DType::kI32, Shape{int64_t(values.size())}}, values);
  }
  Case& Int(const std::string& parameter, int32_t value) {
    return Constant(parameter, {NextName(), DType::kI32, {}}, std::vector<int32_t>{value});
  }
  Case& Flag(const std::string& parameter, bool value) {
    return Constant(parameter, {NextName(), DType::kBool, {}}, std::vector<bool>{value});
  }
  Case& Flags(const std::string& parameter, const std::vector<bool>& values) {
    return Constant(parameter, {NextName(), DType::kBool, Shape{int64_t(values.size())}}, values);
  }
  Case& Text(const std::string& parameter, const std::string& value) {
    return Constant(parameter, {NextName(), DType::kF16, {}}, value);
  }

  Result<std::vector<TensorType>> Infer() const { return InferOutputs(operation_, values_); }

  // The shapes of the results as text: "[1, 2] [3]", or the error.
  std::string Shapes() const {
    const Result<std::vector<TensorType>> inferred = Infer();
    if (!inferred.ok()) return inferred.status().message();
    std::string text;
    for (const TensorType& type : *inferred) {
      text += (text.empty() ? "" : " ") + type.shape.ToString();
    }
    return text;
  }

 private:
  std::string NextName() const { return "v" + std::to_string(values_.size()); }
  Case& Constant(const std::string& parameter, const TensorSpec& spec, ConstantValue value) {
    constants_.push_back(
        std::make_unique<npumoe::Constant>(npumoe::Constant{spec, std::move(value)}));
    return Bind(parameter, spec, constants_.back().get());
  }
  Case& Bind(const std::string& parameter, const TensorSpec& spec,
             const npumoe::Constant* constant) {
    values_[spec.name] = {spec, constant};
    for (auto& [name, bound] : operation_.inputs) {
      if (name == parameter) {
        bound.push_back(spec.name);
        return *this;
      }
    }
    operation_.inputs.push_back({parameter, {spec.name}});
    return *this;
  }

  Operation operation_;
  ValueTable values_;
  std::vector<std::unique_ptr<npumoe::Constant>> constants_;
};

void ExpectError(const Case& tested, const std::string& expected) {
  const Status status = tested.Infer().status();
  EXPECT_NE(status.message().find(expected), std::string::npos) << status.message();
}

TEST(ShapeInference, ConvMapsChannels) {
  EXPECT_EQ(Case("conv").Tensor("x", {1, 6, 1, 8}).Weight("weight", {4, 6, 1, 1}).Shapes(),
            "[1, 4, 1, 8]");
}

TEST(ShapeInference, ConvWithGroupsTakesNarrowWeights) {
  Case conv("conv");
  conv.Tensor("x", {1, 6, 1, 8}).Weight("weight", {9, 2, 1, 1}).Int("groups", 3);
  EXPECT_EQ(conv.Shapes(), "[1, 9, 1, 8]");
}

TEST(ShapeInference, ConvWithStridePadAndDilation) {
  Case conv("conv");
  conv.Tensor("x", {1, 2, 10, 11}).Weight("weight", {3, 2, 3, 3});
  conv.Ints("strides", {2, 1}).Text("pad_type", "custom").Ints("pad", {1, 1, 0, 2});
  conv.Ints("dilations", {1, 2});
  // (10 + 2 - 2 - 1) / 2 + 1 = 5; 11 + 2 - 4 - 1 + 1 = 9
  EXPECT_EQ(conv.Shapes(), "[1, 3, 5, 9]");
}

TEST(ShapeInference, ConvOfSamePaddingDividesByTheStride) {
  Case conv("conv");
  conv.Tensor("x", {1, 2, 10, 11}).Weight("weight", {3, 2, 3, 3});
  conv.Ints("strides", {2, 2}).Text("pad_type", "same");
  EXPECT_EQ(conv.Shapes(), "[1, 3, 5, 6]");
}

TEST(ShapeInference, ConvRefusesGroupsThatDoNotDivide) {
  Case conv("conv");
  conv.Tensor("x", {1, 6, 1, 8}).Weight("weight", {4, 2, 1, 1}).Int("groups", 3);
  ExpectError(conv, "groups = 3 does not divide 6 input and 4 output channels");
}

TEST(ShapeInference, ConvRefusesGroupsOfZero) {
  Case conv("conv");
  conv.Tensor("x", {1, 6, 1, 8}).Weight("weight", {4, 2, 1, 1}).Int("groups", 0);
  ExpectError(conv, "groups = 0");
}

TEST(ShapeInference, ConvRefusesOtherInputChannels) {
  ExpectError(Case("conv").Tensor("x", {1, 6, 1, 8}).Weight("weight", {4, 5, 1, 1}), "needs 6");
}

TEST(ShapeInference, ConvRefusesABiasOfAnotherLength) {
  Case conv("conv");
  conv.Tensor("x", {1, 6, 1, 8}).Weight("weight", {4, 6, 1, 1}).Weight("bias", {5});
  ExpectError(conv, "bias [5]; [4] is needed");
}

TEST(ShapeInference, ConvRefusesADilationThatOverflows) {
  Case conv("conv");
  conv.Tensor("x", {1, 1, 1, int64_t{1} << 34}).Weight("weight", {1, 1, 1, int64_t{1} << 33});
  conv.Ints("dilations", {1, 2147483647});
  ExpectError(conv, "dilated kernel is longer");
}

TEST(ShapeInference, ConvRefusesAWeightThatIsComputed) {
  ExpectError(Case("conv").Tensor("x", {1, 6, 1, 8}).Tensor("weight", {4, 6, 1, 1}),
              "it must be a constant tensor");
}

TEST(ShapeInference, LinearMapsTheLastAxis) {
  EXPECT_EQ(Case("linear").Tensor("x", {2, 3, 6}).Weight("weight", {5, 6}).Shapes(), "[2, 3, 5]");
}

TEST(ShapeInference, LinearRefusesAnotherWidth) {
  ExpectError(Case("linear").Tensor("x", {2, 3, 6}).Weight("weight", {6, 5}), "must end in");
}

TEST(ShapeInference, MatMulBroadcastsBatches) {
  EXPECT_EQ(Case("matmul").Tensor("x", {1, 4, 2, 3}).Tensor("y", {5, 1, 3, 7}).Shapes(),
            "[5, 4, 2, 7]");
}

TEST(ShapeInference, MatMulTransposesBothSides) {
  Case matmul("matmul");
  matmul.Tensor("x", {3, 2}).Tensor("y", {7, 3});
  matmul.Flag("transpose_x", true).Flag("transpose_y", true);
  EXPECT_EQ(matmul.Shapes(), "[2, 7]");
}

TEST(ShapeInference, MatMulRefusesInnerLengthsThatDiffer) {
  ExpectError(Case("matmul").Tensor("x", {2, 3}).Tensor("y", {4, 7}), "inner lengths 3 and 4");
}

TEST(ShapeInference, BinaryOperationsBroadcastFromTheRight) {
  EXPECT_EQ(Case("mul").Tensor("x", {3, 1}).Tensor("y", {2, 1, 5}).Shapes(), "[2, 3, 5]");
}

TEST(ShapeInference, BinaryOperationsRefuseShapesThatDoNotBroadcast) {
  ExpectError(Case("add").Tensor("x", {3}).Tensor("y", {4}), "3 and 4 do not broadcast");
}

TEST(ShapeInference, BinaryOperationsRefuseMixedTypes) {
  ExpectError(Case("add").Tensor("x", {3}).Tensor("y", {3}, DType::kF32), "x is F16 and y is F32");
}

TEST(ShapeInference, ABroadcastBeyondTheSizeLimitIsRefused) {
  ExpectError(Case("add").Tensor("x", {int64_t{1} << 30, 1}).Tensor("y", {1, int64_t{1} << 30}),
              "product is beyond");
}

TEST(ShapeInference, UnaryOperationsRefuseIntegers) {
  ExpectError(Case("silu").Tensor("x", {3}, DType::kI32), "x is I32; F16 or F32 is needed");
}

TEST(ShapeInference, SoftmaxRefusesAnAxisThatIsNotThere) {
  ExpectError(Case("softmax").Tensor("x", {3, 4}).Int("axis", 2), "axis 2; allowed are -2 to 1");
}

TEST(ShapeInference, ReductionsKeepOrDropAxes) {
  EXPECT_EQ(Case("reduce_sum").Tensor("x", {2, 3, 4}).Ints("axes", {-1, 0}).Shapes(), "[3]");
  Case kept("reduce_mean");
  kept.Tensor("x", {2, 3, 4}).Ints("axes", {1}).Flag("keep_dims", true);
  EXPECT_EQ(kept.Shapes(), "[2, 1, 4]");
}

TEST(ShapeInference, ReductionsWithoutAxesTakeAll) {
  EXPECT_EQ(Case("reduce_max").Tensor("x", {2, 3}).Shapes(), "[]");
}

TEST(ShapeInference, ReductionsRefuseAnAxisNamedTwice) {
  ExpectError(Case("reduce_max").Tensor("x", {2, 3}).Ints("axes", {1, -1}), "listed twice");
}

TEST(ShapeInference, LayerNormRefusesAGammaOfAnotherShape) {
  Case norm("layer_norm");
  norm.Tensor("x", {2, 3, 4}).Ints("axes", {1, 2}).Weight("gamma", {4});
  ExpectError(norm, "gamma [4]; [3, 4] is needed");
}

TEST(ShapeInference, CastChangesTheTypeOnly) {
  const auto inferred = Case("cast").Tensor("x", {2, 3}).Text("dtype", "fp32").Infer();
  ASSERT_TRUE(inferred.ok());
  EXPECT_EQ(inferred->front().dtype, DType::kF32);
  EXPECT_EQ(inferred->front().shape, (Shape{2, 3}));
}

TEST(ShapeInference, ReshapeFillsInOneAxis) {
  EXPECT_EQ(Case("reshape").Tensor("x", {2, 3, 4}).Ints("shape", {0, -1, 2}).Shapes(), "[2, 6, 2]");
}

TEST(ShapeInference, ReshapeRefusesAnotherElementCount) {
  ExpectError(Case("reshape").Tensor("x", {2, 3}).Ints("shape", {4, -1}), "does not hold the 6");
}

TEST(ShapeInference, ReshapeRefusesTwoFreeAxes) {
  ExpectError(Case("reshape").Tensor("x", {2, 3}).Ints("shape", {-1, -1}), "more than one -1");
}

TEST(ShapeInference, TransposeOrdersAxes) {
  EXPECT_EQ(Case("transpose").Tensor("x", {2, 3, 4}).Ints("perm", {2, 0, -2}).Shapes(),
            "[4, 2, 3]");
}

TEST(ShapeInference, TransposeRefusesAPartialOrder) {
  ExpectError(Case("transpose").Tensor("x", {2, 3}).Ints("perm", {1}), "perm has 1 entries");
}

TEST(ShapeInference, SliceTakesMasksNegativesAndStrides) {
  Case slice("slice_by_index");
  slice.Tensor("x", {10, 10, 10, 10});
  slice.Ints("begin", {2, -3, 5, -1}).Ints("end", {9, 0, -1, 0}).Ints("stride", {3, 1, 2, 1});
  slice.Flags("begin_mask", {true, false, false, false});
  slice.Flags("end_mask", {false, true, false, false});
  slice.Flags("squeeze_mask", {false, false, false, true});
  // 0..9 by 3; 7..10; 5..9 by 2; the last element, dropped
  EXPECT_EQ(slice.Shapes(), "[3, 3, 2]");
}

TEST(ShapeInference, SliceRefusesARangeOutsideTheAxis) {
  Case slice("slice_by_index");
  slice.Tensor("x", {10}).Ints("begin", {4}).Ints("end", {11});
  ExpectError(slice, "[4, 11) does not lie in an axis of length 10");
}

TEST(ShapeInference, SliceRefusesAMissingEntry) {
  Case slice("slice_by_index");
  slice.Tensor("x", {10, 2}).Ints("begin", {4}).Ints("end", {11, 2});
  ExpectError(slice, "one entry for each axis");
}

TEST(ShapeInference, ConcatAddsLengths) {
  Case concat("concat");
  concat.Tensor("values", {2, 3}).Tensor("values", {2, 5}).Int("axis", -1);
  EXPECT_EQ(concat.Shapes(), "[2, 8]");
}

TEST(ShapeInference, ConcatRefusesAnotherShapeOffTheAxis) {
  Case concat("concat");
  concat.Tensor("values", {2, 3}).Tensor("values", {3, 3}).Int("axis", 1);
  ExpectError(concat, "value [3, 3] F16 does not fit [2, 3] F16");
}

TEST(ShapeInference, SplitTakesANumberOfParts) {
  EXPECT_EQ(Case("split").Tensor("x", {2, 6}).Int("num_splits", 3).Int("axis", 1).Shapes(),
            "[2, 2] [2, 2] [2, 2]");
}

TEST(ShapeInference, SplitTakesLengths) {
  EXPECT_EQ(Case("split").Tensor("x", {2, 6}).Ints("split_sizes", {1, 5}).Int("axis", 1).Shapes(),
            "[2, 1] [2, 5]");
}

TEST(ShapeInference, SplitRefusesLengthsThatDoNotAddUp) {
  ExpectError(Case("split").Tensor("x", {2, 6}).Ints("split_sizes", {1, 4}).Int("axis", 1),
              "the parts add up to 5, the axis has 6");
}

TEST(ShapeInference, SplitRefusesMillionsOfParts) {
  Case split("split");
  split.Tensor("x", {int64_t{1} << 30}).Int("num_splits", 1 << 30).Int("axis", 0);
  EXPECT_EQ(split.Infer().status().code(), StatusCode::kUnsupported);
}

TEST(ShapeInference, ExpandDimsCountsInTheResult) {
  EXPECT_EQ(Case("expand_dims").Tensor("x", {2, 3}).Ints("axes", {0, -1}).Shapes(), "[1, 2, 3, 1]");
}

TEST(ShapeInference, SqueezeDropsAxesOfLengthOne) {
  EXPECT_EQ(Case("squeeze").Tensor("x", {1, 2, 1, 3}).Ints("axes", {0}).Shapes(), "[2, 1, 3]");
  EXPECT_EQ(Case("squeeze").Tensor("x", {1, 2, 1, 3}).Shapes(), "[2, 3]");
}

TEST(ShapeInference, SqueezeRefusesALongerAxis) {
  ExpectError(Case("squeeze").Tensor("x", {1, 2}).Ints("axes", {1}), "has not length 1");
}

TEST(ShapeInference, NamesAnUnknownOperationAndTheKnownOnes) {
  const Status status = Case("topk").Infer().status();
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_NE(status.message().find("'topk'"), std::string::npos);
  EXPECT_NE(status.message().find(" transpose"), std::string::npos);
}

TEST(ShapeInference, NamesAMissingParameter) {
  ExpectError(Case("transpose").Tensor("x", {2, 3}), "parameter 'perm' is missing");
}

TEST(ShapeInference, RefusesTwoValuesForOneParameter) {
  ExpectError(Case("silu").Tensor("x", {2}).Tensor("x", {2}), "binds 2 values; exactly one");
}

TEST(ShapeInference, RefusesAParameterOfAnotherKind) {
  ExpectError(Case("transpose").Tensor("x", {2, 3}).Int("perm", 1),
              "it must be a constant int32 vector");
}

TEST(CheckedShape, RefusesAnAxisOfZero) {
  EXPECT_FALSE(CheckedShape(std::vector<int64_t>{3, 0}).ok());
}

TEST(CheckedShape, RefusesAProductThatOverflows) {
  const int64_t huge = int64_t{1} << 62;
  EXPECT_FALSE(CheckedShape(std::vector<int64_t>{huge, huge, huge}).ok());
}

TEST(CheckedShape, RefusesMoreAxesThanAShapeHolds) {
  EXPECT_EQ(CheckedShape(std::vector<int64_t>(9, 1)).status().code(), StatusCode::kUnsupported);
}

}  // namespace
}  // namespace npumoe
