#include "graph/builder.h"

#include <algorithm>
#include <bit>
#include <cstdio>

#include "graph/names.h"
#include "graph/shape_inference.h"

namespace npumoe {
namespace {

std::string Joined(const std::string& prefix, const std::vector<int32_t>& values) {
  std::string name = prefix;
  for (const int32_t value : values) {
    // A name takes no minus sign.
    name += "_" + (value < 0 ? "m" + std::to_string(-int64_t{value}) : std::to_string(value));
  }
  return name;
}

float RoundedTo(DType dtype, float value) {
  return dtype == DType::kF16 ? F32FromF16(F16FromF32(value)) : value;
}

const char* CastName(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return "fp16";
    case DType::kF32:
      return "fp32";
    case DType::kI32:
      return "int32";
    case DType::kI8:
      return "int8";
    case DType::kU8:
      return "uint8";
    case DType::kBool:
      return "bool";
    default:
      return "";  // refused by inference
  }
}

WeightData ZeroWeight() {
  return {{}, [](std::span<std::byte> bytes) {
            std::fill(bytes.begin(), bytes.end(), std::byte{0});
            return OkStatus();
          }};
}

}  // namespace

void GraphBuilder::Fail(Status status) {
  if (status_.ok()) status_ = status.WithContext("graph '" + graph_.name + "'");
}

bool GraphBuilder::Declare(const TensorSpec& spec, const Constant* constant) {
  if (!status_.ok()) return false;
  if (!IsValidName(spec.name)) {
    Fail(InvalidInput("the name " + Quoted(spec.name) + " is not [A-Za-z_][A-Za-z0-9_@]*"));
    return false;
  }
  if (Result<Shape> shape = CheckedShape(spec.shape.axes()); !shape.ok()) {
    Fail(shape.status().WithContext(Quoted(spec.name)));
    return false;
  }
  if (!values_.emplace(spec.name, KnownValue{spec, constant}).second) {
    Fail(InvalidInput("the name " + Quoted(spec.name) + " is used twice"));
    return false;
  }
  return true;
}

GraphBuilder::Value GraphBuilder::Input(const std::string& name, DType dtype, const Shape& shape) {
  const TensorSpec spec{name, dtype, shape};
  if (Declare(spec, nullptr)) graph_.inputs.push_back(spec);
  return spec;
}

GraphBuilder::Value GraphBuilder::AddConstant(TensorSpec spec, ConstantValue value) {
  const auto [entry, inserted] =
      graph_.constants.try_emplace(spec.name, Constant{spec, std::move(value)});
  if (!inserted) {
    Fail(InvalidInput("the name " + Quoted(spec.name) + " is used twice"));
  } else if (!Declare(spec, &entry->second)) {
    graph_.constants.erase(entry);
  }
  return spec;
}

GraphBuilder::Value GraphBuilder::Weight(const std::string& name, DType dtype, const Shape& shape,
                                         WeightData data) {
  if (!data.view.empty()) {
    if (data.view.dtype != dtype || data.view.shape.elements() != shape.elements()) {
      Fail(InvalidInput("weight " + Quoted(name) + " is given as " + Name(data.view.dtype) + " " +
                        data.view.shape.ToString() + "; " + Name(dtype) + " " + shape.ToString() +
                        " is declared"));
    }
    data.view.shape = shape;
  }
  return AddConstant({name, dtype, shape}, std::move(data));
}

GraphBuilder::Value GraphBuilder::Floats(const std::string& name, DType dtype, const Shape& shape,
                                         std::vector<float> values) {
  const TensorSpec spec{name, dtype, shape};
  if (dtype != DType::kF16 && dtype != DType::kF32) {
    Fail(Unsupported("constant " + Quoted(name) + " is " + Name(dtype) + "; use F16 or F32"));
  } else if (static_cast<int64_t>(values.size()) != shape.elements()) {
    Fail(InvalidInput("constant " + Quoted(name) + " has " + std::to_string(values.size()) +
                      " values for the shape " + shape.ToString()));
  }
  for (float& value : values) value = RoundedTo(dtype, value);
  return AddConstant(spec, std::move(values));
}

std::string GraphBuilder::Int(int64_t value) {
  const std::vector<int32_t> values = {static_cast<int32_t>(value)};
  if (values.front() != value) Fail(InvalidInput(std::to_string(value) + " is beyond int32"));
  const std::string name = Joined("int", values);
  if (!graph_.constants.contains(name)) AddConstant({name, DType::kI32, {}}, values);
  return name;
}

std::string GraphBuilder::Ints(const std::vector<int32_t>& values) {
  const std::string name = Joined("ints", values);
  const TensorSpec spec{name, DType::kI32, Shape{static_cast<int64_t>(values.size())}};
  if (!graph_.constants.contains(name)) AddConstant(spec, values);
  return name;
}

std::string GraphBuilder::Flag(bool value) {
  const std::string name = value ? "flag_true" : "flag_false";
  const TensorSpec spec{name, DType::kBool, {}};
  if (!graph_.constants.contains(name)) AddConstant(spec, std::vector<bool>{value});
  return name;
}

std::string GraphBuilder::Flags(size_t count, bool value) {
  const std::string name = (value ? "flags_true_" : "flags_false_") + std::to_string(count);
  const TensorSpec spec{name, DType::kBool, Shape{static_cast<int64_t>(count)}};
  if (!graph_.constants.contains(name)) AddConstant(spec, std::vector<bool>(count, value));
  return name;
}

std::string GraphBuilder::Text(const std::string& value) {
  const std::string name = "text_" + value;
  TensorSpec spec;  // a text has no element type; the default one stands for it
  spec.name = name;
  if (!graph_.constants.contains(name)) AddConstant(spec, value);
  return name;
}

std::string GraphBuilder::Float(float value, DType dtype) {
  const float rounded = RoundedTo(dtype, value);
  char bits[16];
  std::snprintf(bits, sizeof bits, "_%08x", std::bit_cast<uint32_t>(rounded));
  const std::string name = (dtype == DType::kF16 ? "fp16" : "fp32") + std::string(bits);
  if (!graph_.constants.contains(name)) Floats(name, dtype, {}, {rounded});
  return name;
}

std::vector<GraphBuilder::Value> GraphBuilder::AppendSeveral(Operation operation) {
  if (!status_.ok()) return {};
  Result<std::vector<TensorType>> inferred = InferOutputs(operation, values_);
  if (!inferred.ok()) {
    Fail(inferred.status());
    return {};
  }
  for (size_t i = 0; i < inferred->size(); ++i) {
    const std::string suffix = inferred->size() == 1 ? "" : "_" + std::to_string(i);
    const TensorType& type = (*inferred)[i];
    operation.outputs.push_back({operation.name + suffix, type.dtype, type.shape});
    if (!Declare(operation.outputs.back(), nullptr)) return {};
    values_.at(operation.outputs.back().name).materialised = IsConstexpr(operation);
  }
  graph_.operations.push_back(std::move(operation));
  return graph_.operations.back().outputs;
}

GraphBuilder::Value GraphBuilder::Append(const std::string& type, const std::string& name,
                                         std::vector<Binding> inputs) {
  const std::vector<Value> results = AppendSeveral({type, name, std::move(inputs), {}});
  return results.empty() ? Value{name, DType::kF16, {}} : results.front();
}

void GraphBuilder::Output(const Value& value) { graph_.outputs.push_back(value.name); }

std::string GraphBuilder::Part(const std::string& name, const Stored& part) {
  return Weight(name, part.dtype, part.shape, part.data).name;
}

GraphBuilder::Value GraphBuilder::BlockwiseShiftScale(const std::string& name, const Stored& data,
                                                      const Stored& scale) {
  return Append(
      "constexpr_blockwise_shift_scale", name,
      {{"data", {Part(name + "_data", data)}}, {"scale", {Part(name + "_scale", scale)}}});
}

GraphBuilder::Value GraphBuilder::LutToDense(const std::string& name, const Stored& indices,
                                             const Stored& lut) {
  return Append(
      "constexpr_lut_to_dense", name,
      {{"indices", {Part(name + "_indices", indices)}}, {"lut", {Part(name + "_lut", lut)}}});
}

GraphBuilder::Value GraphBuilder::Conv(const std::string& name, const Value& x, const Value& weight,
                                       ConvOptions options) {
  const size_t spatial_axes = static_cast<size_t>(std::max(1, x.shape.rank() - 2));
  std::vector<Binding> inputs = {{"x", {x.name}}, {"weight", {weight.name}}};
  if (options.bias) inputs.push_back({"bias", {options.bias->name}});
  inputs.push_back({"strides", {Ints(std::vector<int32_t>(spatial_axes, 1))}});
  inputs.push_back({"pad_type", {Text("valid")}});
  inputs.push_back({"pad", {Ints(std::vector<int32_t>(2 * spatial_axes, 0))}});
  inputs.push_back({"dilations", {Ints(std::vector<int32_t>(spatial_axes, 1))}});
  inputs.push_back({"groups", {Int(options.groups)}});
  return Append("conv", name, std::move(inputs));
}

GraphBuilder::Value GraphBuilder::Linear(const std::string& name, const Value& x,
                                         const Value& weight, const std::optional<Value>& bias) {
  std::string bias_name = bias ? bias->name : name + "_zero_bias";
  if (!bias && weight.shape.rank() == 2) {
    Weight(bias_name, x.dtype, Shape{weight.shape[0]}, ZeroWeight());
  }
  return Append("linear", name,
                {{"x", {x.name}}, {"weight", {weight.name}}, {"bias", {bias_name}}});
}

GraphBuilder::Value GraphBuilder::MatMul(const std::string& name, const Value& x, Operand x_as,
                                         const Value& y, Operand y_as) {
  return Append("matmul", name,
                {{"x", {x.name}},
                 {"y", {y.name}},
                 {"transpose_x", {Flag(x_as == Operand::kTransposed)}},
                 {"transpose_y", {Flag(y_as == Operand::kTransposed)}}});
}

GraphBuilder::Value GraphBuilder::LayerNorm(const std::string& name, const Value& x,
                                            const LayerNormOptions& options) {
  std::vector<Binding> inputs = {{"x", {x.name}}, {"axes", {Ints(options.axes)}}};
  if (options.gamma) inputs.push_back({"gamma", {options.gamma->name}});
  if (options.beta) inputs.push_back({"beta", {options.beta->name}});
  inputs.push_back({"epsilon", {Float(options.epsilon, x.dtype)}});
  return Append("layer_norm", name, std::move(inputs));
}

GraphBuilder::Value GraphBuilder::Reduce(const char* type, const std::string& name, const Value& x,
                                         std::vector<int32_t> axes, ReducedAxes reduced) {
  return Append(type, name,
                {{"x", {x.name}},
                 {"axes", {Ints(axes)}},
                 {"keep_dims", {Flag(reduced == ReducedAxes::kKept)}}});
}

GraphBuilder::Value GraphBuilder::Slice(const std::string& name, const Value& x,
                                        std::vector<int32_t> begin, std::vector<int32_t> end) {
  const size_t rank = begin.size();
  return Append("slice_by_index", name,
                {{"x", {x.name}},
                 {"begin", {Ints(begin)}},
                 {"end", {Ints(end)}},
                 {"stride", {Ints(std::vector<int32_t>(rank, 1))}},
                 {"begin_mask", {Flags(rank, false)}},
                 {"end_mask", {Flags(rank, false)}},
                 {"squeeze_mask", {Flags(rank, false)}}});
}

GraphBuilder::Value GraphBuilder::Concat(const std::string& name, const std::vector<Value>& values,
                                         int axis) {
  std::vector<std::string> names;
  for (const Value& value : values) names.push_back(value.name);
  return Append(
      "concat", name,
      {{"values", std::move(names)}, {"axis", {Int(axis)}}, {"interleave", {Flag(false)}}});
}

std::vector<GraphBuilder::Value> GraphBuilder::Split(const std::string& name, const Value& x,
                                                     std::vector<int32_t> lengths, int axis) {
  return AppendSeveral({"split",
                        name,
                        {{"x", {x.name}}, {"split_sizes", {Ints(lengths)}}, {"axis", {Int(axis)}}},
                        {}});
}

GraphBuilder::Value GraphBuilder::Cast(const std::string& name, const Value& x, DType dtype) {
  return Append("cast", name, {{"x", {x.name}}, {"dtype", {Text(CastName(dtype))}}});
}

Result<Graph> GraphBuilder::Finish() && {
  if (status_.ok() && graph_.outputs.empty()) Fail(InvalidInput("no output is declared"));
  if (!status_.ok()) return status_;
  return std::move(graph_);
}

}  // namespace npumoe
