#include "graph/shape_inference.h"

#include <algorithm>

#include "base/checked_math.h"
#include "graph/inference_rules.h"
#include "graph/names.h"

namespace npumoe {
namespace {

using Kind = ParameterKind;

ParameterSchema Required(const char* name, Kind kind) { return {name, kind, Presence::kRequired}; }
ParameterSchema Optional(const char* name, Kind kind) { return {name, kind, Presence::kOptional}; }

OperationSchema Binary(const char* type) {
  return {type, {Required("x", Kind::kTensor), Required("y", Kind::kTensor)}, InferBinary};
}

OperationSchema Unary(const char* type) {
  return {type, {Required("x", Kind::kTensor)}, InferUnary};
}

OperationSchema Reduction(const char* type) {
  return {type,
          {Required("x", Kind::kTensor), Optional("axes", Kind::kInts),
           Optional("keep_dims", Kind::kFlag)},
          InferReduce};
}

std::vector<OperationSchema> ProductSchemas() {
  return {
      {"conv",
       {Required("x", Kind::kTensor), Required("weight", Kind::kConstantTensor),
        Optional("bias", Kind::kConstantTensor), Optional("strides", Kind::kInts),
        Optional("pad_type", Kind::kText), Optional("pad", Kind::kInts),
        Optional("dilations", Kind::kInts), Optional("groups", Kind::kInt)},
       InferConv},
      {"linear",
       {Required("x", Kind::kTensor), Required("weight", Kind::kConstantTensor),
        Optional("bias", Kind::kConstantTensor)},
       InferLinear},
      {"matmul",
       {Required("x", Kind::kTensor), Required("y", Kind::kTensor),
        Optional("transpose_x", Kind::kFlag), Optional("transpose_y", Kind::kFlag)},
       InferMatMul},
  };
}

std::vector<OperationSchema> ElementwiseSchemas() {
  return {
      Binary("add"),
      Binary("sub"),
      Binary("mul"),
      Binary("real_div"),
      Binary("maximum"),
      Unary("silu"),
      Unary("sigmoid"),
      Unary("exp"),
      Unary("sqrt"),
      Unary("square"),
      Unary("abs"),
      {"rsqrt", {Required("x", Kind::kTensor), Optional("epsilon", Kind::kFloat)}, InferRsqrt},
      {"clip",
       {Required("x", Kind::kTensor), Required("alpha", Kind::kFloat),
        Required("beta", Kind::kFloat)},
       InferClip},
      {"softmax", {Required("x", Kind::kTensor), Optional("axis", Kind::kInt)}, InferSoftmax},
      Reduction("reduce_mean"),
      Reduction("reduce_sum"),
      Reduction("reduce_max"),
      {"layer_norm",
       {Required("x", Kind::kTensor), Optional("axes", Kind::kInts),
        Optional("gamma", Kind::kConstantTensor), Optional("beta", Kind::kConstantTensor),
        Optional("epsilon", Kind::kFloat)},
       InferLayerNorm},
      {"cast", {Required("x", Kind::kTensor), Required("dtype", Kind::kText)}, InferCast},
  };
}

std::vector<OperationSchema> LayoutSchemas() {
  return {
      {"reshape", {Required("x", Kind::kTensor), Required("shape", Kind::kInts)}, InferReshape},
      {"transpose", {Required("x", Kind::kTensor), Required("perm", Kind::kInts)}, InferTranspose},
      {"slice_by_index",
       {Required("x", Kind::kTensor), Required("begin", Kind::kInts), Required("end", Kind::kInts),
        Optional("stride", Kind::kInts), Optional("begin_mask", Kind::kFlags),
        Optional("end_mask", Kind::kFlags), Optional("squeeze_mask", Kind::kFlags)},
       InferSliceByIndex},
      {"concat",
       {Required("values", Kind::kTensors), Required("axis", Kind::kInt),
        Optional("interleave", Kind::kFlag)},
       InferConcat},
      {"split",
       {Required("x", Kind::kTensor), Optional("num_splits", Kind::kInt),
        Optional("split_sizes", Kind::kInts), Required("axis", Kind::kInt)},
       InferSplit},
      {"expand_dims",
       {Required("x", Kind::kTensor), Required("axes", Kind::kInts)},
       InferExpandDims},
      {"squeeze", {Required("x", Kind::kTensor), Optional("axes", Kind::kInts)}, InferSqueeze},
  };
}

std::vector<OperationSchema> ConstexprSchemas() {
  return {
      {"constexpr_blockwise_shift_scale",
       {Required("data", Kind::kStoredTensor), Required("scale", Kind::kStoredTensor),
        Optional("offset", Kind::kStoredTensor)},
       InferBlockwiseShiftScale},
      {"constexpr_lut_to_dense",
       {Required("indices", Kind::kStoredTensor), Required("lut", Kind::kStoredTensor)},
       InferLutToDense},
  };
}

const std::vector<OperationSchema>& Schemas() {
  static const std::vector<OperationSchema> schemas = [] {
    std::vector<OperationSchema> all = ProductSchemas();
    for (auto& more : {ElementwiseSchemas(), LayoutSchemas(), ConstexprSchemas()}) {
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  }();
  return schemas;
}

}  // namespace

const OperationSchema* FindOperationSchema(std::string_view type) {
  for (const OperationSchema& schema : Schemas()) {
    if (type == schema.type) return &schema;
  }
  return nullptr;
}

std::vector<std::string_view> KnownOperations() {
  std::vector<std::string_view> types;
  for (const OperationSchema& schema : Schemas()) types.push_back(schema.type);
  std::sort(types.begin(), types.end());
  return types;
}

Result<std::vector<TensorType>> InferOutputs(const Operation& operation, const ValueTable& values) {
  const OperationSchema* schema = FindOperationSchema(operation.type);
  if (schema == nullptr) {
    std::string known;
    for (const std::string_view type : KnownOperations()) known += " " + std::string(type);
    return Unsupported("operation " + Quoted(operation.name) + " has the type " +
                       Quoted(operation.type) + ", which is not known here; known are:" + known);
  }
  NPUMOE_ASSIGN_OR_RETURN(const Arguments arguments,
                          Arguments::Bind(operation, schema->parameters, values));
  return schema->infer(arguments);
}

Result<Shape> CheckedShape(std::span<const int64_t> axes) {
  if (axes.size() > static_cast<size_t>(Shape::kMaxRank)) {
    return Unsupported("rank " + std::to_string(axes.size()) + "; at most " +
                       std::to_string(Shape::kMaxRank) + " is allowed");
  }
  constexpr int64_t kWidestElementBytes = 8;
  int64_t bytes = kWidestElementBytes;
  for (const int64_t axis : axes) {
    if (axis < 1) {
      return InvalidInput("an axis of length " + std::to_string(axis) + "; at least 1 is needed");
    }
    const std::optional<int64_t> product = CheckedMul(bytes, axis);
    if (!product || *product > kMaxTensorBytes) {
      return InvalidInput("axes whose product is beyond " + std::to_string(kMaxTensorBytes) +
                          " bytes");
    }
    bytes = *product;
  }
  return Shape(axes);
}

}  // namespace npumoe
