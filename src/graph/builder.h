// GraphBuilder: writes a Graph operation by operation, with shapes and types inferred.
//
// Every optional parameter that has a default is written out, so that nothing depends on the
// defaults of whoever loads the package. Equal small parameters become one constant.
//
// The first mistake (shapes that do not fit, a name used twice) is kept; later calls do nothing
// and Finish returns it. A Value is a declaration: name, type and shape.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "graph/arguments.h"
#include "graph/graph.h"

namespace npumoe {

enum class Operand { kAsIs, kTransposed };  // of matmul: its last two axes
enum class ReducedAxes { kKept, kDropped };

class GraphBuilder {
 public:
  using Value = TensorSpec;

  struct ConvOptions {
    int64_t groups = 1;
    std::optional<Value> bias;  // [Cout]
  };
  struct LayerNormOptions {
    std::vector<int32_t> axes;
    float epsilon = 1e-5f;
    std::optional<Value> gamma, beta;  // shape of x along `axes`
  };

  // A constant that stands in a constexpr operation.
  struct Stored {
    DType dtype = DType::kF16;
    Shape shape;
    WeightData data;
  };

  explicit GraphBuilder(std::string function_name) { graph_.name = std::move(function_name); }

  Value Input(const std::string& name, DType dtype, const Shape& shape);
  // Goes to the weight file.
  Value Weight(const std::string& name, DType dtype, const Shape& shape, WeightData data);
  // Stays inside the program; rounded to `dtype` (F16 or F32).
  Value Floats(const std::string& name, DType dtype, const Shape& shape, std::vector<float> values);

  // Weights in a compressed form; results are bound wherever a weight may be. The stored parts are
  // called NAME_data, NAME_scale; NAME_indices, NAME_lut.
  // scale * data; every axis of `data` is a whole number of times as long as that of `scale`.
  Value BlockwiseShiftScale(const std::string& name, const Stored& data, const Stored& scale);
  // lut [.., 2^bits, 1]: its first axes divide those of `indices`, each part has its own table.
  Value LutToDense(const std::string& name, const Stored& indices, const Stored& lut);

  // x [N, Cin, *d], weight [Cout, Cin / groups, *k] -> [N, Cout, *d - k + 1]; stride 1, no padding.
  Value Conv(const std::string& name, const Value& x, const Value& weight, ConvOptions options);
  // x [.., Din], weight [Dout, Din], bias [Dout] or none -> [.., Dout].
  Value Linear(const std::string& name, const Value& x, const Value& weight,
               const std::optional<Value>& bias);
  Value MatMul(const std::string& name, const Value& x, Operand x_as, const Value& y, Operand y_as);

  // NumPy broadcast.
  Value Add(const std::string& name, const Value& x, const Value& y);
  Value Sub(const std::string& name, const Value& x, const Value& y);
  Value Mul(const std::string& name, const Value& x, const Value& y);
  Value RealDiv(const std::string& name, const Value& x, const Value& y);
  Value Maximum(const std::string& name, const Value& x, const Value& y);

  Value Silu(const std::string& name, const Value& x);
  Value Sigmoid(const std::string& name, const Value& x);
  Value Exp(const std::string& name, const Value& x);
  Value Sqrt(const std::string& name, const Value& x);
  Value Square(const std::string& name, const Value& x);
  Value Abs(const std::string& name, const Value& x);
  Value Rsqrt(const std::string& name, const Value& x, float epsilon);  // 1 / sqrt(x + epsilon)
  Value Clip(const std::string& name, const Value& x, float alpha, float beta);  // [alpha, beta]
  Value Softmax(const std::string& name, const Value& x, int axis);

  Value ReduceMean(const std::string& name, const Value& x, std::vector<int32_t> axes,
                   ReducedAxes reduced);
  Value ReduceSum(const std::string& name, const Value& x, std::vector<int32_t> axes,
                  ReducedAxes reduced);
  Value ReduceMax(const std::string& name, const Value& x, std::vector<int32_t> axes,
                  ReducedAxes reduced);
  Value LayerNorm(const std::string& name, const Value& x, const LayerNormOptions& options);

  Value Reshape(const std::string& name, const Value& x, std::vector<int32_t> shape);
  Value Transpose(const std::string& name, const Value& x, std::vector<int32_t> perm);
  // [begin, end) of every axis.
  Value Slice(const std::string& name, const Value& x, std::vector<int32_t> begin,
              std::vector<int32_t> end);
  Value Concat(const std::string& name, const std::vector<Value>& values, int axis);
  // Results are called name_0, name_1, ...
  std::vector<Value> Split(const std::string& name, const Value& x, std::vector<int32_t> lengths,
                           int axis);
  Value ExpandDims(const std::string& name, const Value& x, std::vector<int32_t> axes);
  Value Squeeze(const std::string& name, const Value& x, std::vector<int32_t> axes);
  Value Cast(const std::string& name, const Value& x, DType dtype);

  void Output(const Value& value);
  Result<Graph> Finish() &&;

 private:
  using Binding = std::pair<std::string, std::vector<std::string>>;

  Value Append(const std::string& type, const std::string& name, std::vector<Binding> inputs);
  std::vector<Value> AppendSeveral(Operation operation);
  Value AddConstant(TensorSpec spec, ConstantValue value);
  bool Declare(const TensorSpec& spec, const Constant* constant);
  std::string Part(const std::string& name, const Stored& part);
  void Fail(Status status);
  Value Reduce(const char* type, const std::string& name, const Value& x, std::vector<int32_t> axes,
               ReducedAxes reduced);
  // Parameters: named after their value, so that equal ones are one constant.
  std::string Int(int64_t value);
  std::string Ints(const std::vector<int32_t>& values);
  std::string Flag(bool value);
  std::string Flags(size_t count, bool value);
  std::string Text(const std::string& value);
  std::string Float(float value, DType dtype);

  Graph graph_;
  ValueTable values_;
  Status status_;
};

}  // namespace npumoe
