// Convolutions and matrix products: fp32 accumulation over the weights as the package stores them
// (kernels/gemm), tokens as rows.
#include <fmt/format.h>

#include <algorithm>

#include "graph/weights/materialised.h"
#include "kernels/gemm/gemm.h"
#include "npu/emulator/operations.h"
#include "npu/emulator/strided.h"

namespace npumoe::emulator {
namespace {

TensorView MatrixAt(const TensorView& weight, int64_t index, int64_t rows, int64_t columns) {
  const auto bytes = static_cast<int64_t>(BytesPerElement(weight.dtype)) * rows * columns;
  return {weight.dtype, Shape{rows, columns}, weight.data + index * bytes};
}

Result<std::span<const float>> Bias(StepBuilder& builder, const Arguments& arguments) {
  if (!arguments.Has("bias")) return std::span<const float>();
  return builder.ConstantFloats(arguments.Spec("bias").name);
}

Status CheckPointwise(const Arguments& arguments) {
  const Shape& weight = arguments.ShapeOf("weight");
  for (int axis = 2; axis < weight.rank(); ++axis) {
    if (weight[axis] != 1) {
      return arguments.NotSupported("a kernel of " + weight.ToString() +
                                    "; the emulated NPU runs 1x1 convolutions");
    }
  }
  const auto all_are = [&](const char* parameter, int64_t value) {
    const std::vector<int64_t> values = arguments.Ints(parameter, {});
    return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == value; });
  };
  if (!all_are("strides", 1)) return arguments.NotSupported("strides above 1");
  const bool padded = arguments.Text("pad_type", "valid") == "custom" && !all_are("pad", 0);
  return padded ? arguments.NotSupported("padding") : OkStatus();
}

struct ConvShape {
  int64_t rows = 0;  // batches times positions
  int64_t groups = 1;
  int64_t in_channels = 0;   // per group
  int64_t out_channels = 0;  // per group
};

void RunConv(const ConvShape& shape, const TensorView& weight, std::span<const float> bias,
             const float* in, float* out, ThreadPool& pool) {
  const int64_t in_stride = shape.groups * shape.in_channels;
  const int64_t out_stride = shape.groups * shape.out_channels;
  for (int64_t g = 0; g < shape.groups; ++g) {
    const ConstMatrix from{in + g * shape.in_channels, shape.rows, shape.in_channels, in_stride};
    const Matrix to{out + g * shape.out_channels, shape.rows, shape.out_channels, out_stride};
    const auto own_bias = bias.empty() ? bias
                                       : bias.subspan(static_cast<size_t>(g * shape.out_channels),
                                                      static_cast<size_t>(shape.out_channels));
    MatMul(from, MatrixAt(weight, g, shape.out_channels, shape.in_channels), own_bias, to, pool);
  }
}

// One side of a matmul: where each batch's matrix lies, and how it is stored.
struct Operand {
  std::vector<int64_t> offsets;  // per batch of the result, in elements
  int64_t rows = 0;              // as stored
  int64_t columns = 0;
  bool transposed = false;  // used as its transpose

  int64_t used_rows() const { return transposed ? columns : rows; }
  int64_t used_columns() const { return transposed ? rows : columns; }
};

Operand MakeOperand(const Shape& shape, bool transposed, const Shape& result) {
  Operand operand;
  operand.rows = shape[shape.rank() - 2];
  operand.columns = shape[shape.rank() - 1];
  operand.transposed = transposed;
  const int batch_axes = result.rank() - 2;
  std::vector<int64_t> extents, strides;
  const std::vector<int64_t> own = RowMajorStrides(shape);
  for (int axis = 0; axis < batch_axes; ++axis) {
    const int at = axis - (result.rank() - shape.rank());
    extents.push_back(result[axis]);
    strides.push_back(at < 0 || shape[at] == 1 ? 0 : own[static_cast<size_t>(at)]);
  }
  int64_t batches = 1;
  for (int64_t extent : extents) batches *= extent;
  for (int64_t b = 0; b < batches; ++b) operand.offsets.push_back(OffsetOf(b, extents, strides));
  return operand;
}

// in [M, K] row-major of batch b, transposed into `scratch` when it is stored as [K, M].
const float* InOrder(const Operand& operand, size_t batch, bool as_stored, const float* data,
                     float* scratch, ThreadPool& pool) {
  const float* matrix = data + operand.offsets[batch];
  if (as_stored) return matrix;
  TransposeMatrices(1, operand.rows, operand.columns, matrix, scratch, pool);
  return scratch;
}

struct MatMulStep {
  Operand x, y;
  TensorView weight;  // y as the package stores it, when it is a weight used as [N, K]
  BlockId x_block = -1, y_block = -1, x_scratch = -1, y_scratch = -1, out = -1;

  void Run(const Launch& launch) const {
    const int64_t m = x.used_rows(), k = x.used_columns(), n = y.used_columns();
    float* result = launch.Write(out).data();
    float* x_order = x_scratch < 0 ? nullptr : launch.Write(x_scratch).data();
    float* y_order = y_scratch < 0 ? nullptr : launch.Write(y_scratch).data();
    for (size_t b = 0; b < x.offsets.size(); ++b) {
      const float* left =
          InOrder(x, b, !x.transposed, launch.Read(x_block).data(), x_order, *launch.pool);
      TensorView right;  // [N, K]
      if (!weight.empty()) {
        right = {weight.dtype, Shape{n, k},
                 weight.data + y.offsets[b] * static_cast<int64_t>(BytesPerElement(weight.dtype))};
      } else {
        const float* matrix =
            InOrder(y, b, y.transposed, launch.Read(y_block).data(), y_order, *launch.pool);
        right = {DType::kF32, Shape{n, k}, reinterpret_cast<const std::byte*>(matrix)};
      }
      MatMul({left, m, k, k}, right, {}, {result + static_cast<int64_t>(b) * m * n, m, n, n},
             *launch.pool);
    }
  }
};

// What a launch streams for a product: weights as the package stores them, compressed or not.
double StreamedBytes(const StepBuilder& builder, const std::string& weight) {
  return static_cast<double>(StoredBytes(builder.graph(), weight));
}

}  // namespace

Status AddConv(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  NPUMOE_RETURN_IF_ERROR(CheckPointwise(arguments));
  const TensorSpec& x = arguments.Spec("x");
  const TensorSpec& result = operation.outputs.front();
  const TensorView weight = builder.WeightView(arguments.Spec("weight").name);
  if (weight.empty()) return arguments.NotSupported("a weight that is not in the weight file");
  NPUMOE_ASSIGN_OR_RETURN(const std::span<const float> bias, Bias(builder, arguments));
  const ChannelShape channels = ChannelsOf(x.shape);
  ConvShape shape;
  shape.rows = channels.batches * channels.spatial;
  shape.groups = arguments.Int("groups", 1);
  shape.in_channels = weight.shape[1];
  shape.out_channels = weight.shape[0] / shape.groups;
  NPUMOE_ASSIGN_OR_RETURN(const BlockId in, builder.TokenMajor(x.name));
  const BlockId out = builder.DeclareTokenMajor(result);
  builder.AddStep({in, out}, [shape, weight, bias, in, out](const Launch& launch) {
    RunConv(shape, weight, bias, launch.Read(in).data(), launch.Write(out).data(), *launch.pool);
  });
  builder.AddRounding(result, out);
  builder.AddProduct({.rows = static_cast<double>(shape.rows),
                      .flops_per_row = 2.0 * static_cast<double>(weight.shape.elements()),
                      .weight_bytes = StreamedBytes(builder, arguments.Spec("weight").name)},
                     x.name);
  return OkStatus();
}

Status AddLinear(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const TensorSpec& x = arguments.Spec("x");
  const TensorSpec& result = operation.outputs.front();
  const TensorView weight = builder.WeightView(arguments.Spec("weight").name);
  if (weight.empty()) return arguments.NotSupported("a weight that is not in the weight file");
  NPUMOE_ASSIGN_OR_RETURN(const std::span<const float> bias, Bias(builder, arguments));
  NPUMOE_ASSIGN_OR_RETURN(const BlockId in, builder.RowMajor(x.name));
  const BlockId out = builder.Declare(result);
  const int64_t inner = weight.shape[1];
  const int64_t outer = weight.shape[0];
  const int64_t rows = x.shape.elements() / inner;
  builder.AddStep({in, out}, [=](const Launch& launch) {
    MatMul({launch.Read(in).data(), rows, inner, inner}, weight, bias,
           {launch.Write(out).data(), rows, outer, outer}, *launch.pool);
  });
  builder.AddRounding(result, out);
  builder.AddProduct({.rows = static_cast<double>(rows),
                      .flops_per_row = 2.0 * static_cast<double>(weight.shape.elements()),
                      .weight_bytes = StreamedBytes(builder, arguments.Spec("weight").name)},
                     x.name);
  return OkStatus();
}

Status AddMatMul(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const TensorSpec& x = arguments.Spec("x");
  const TensorSpec& y = arguments.Spec("y");
  const TensorSpec& result = operation.outputs.front();
  MatMulStep step;
  step.x = MakeOperand(x.shape, arguments.Flag("transpose_x", false), result.shape);
  step.y = MakeOperand(y.shape, arguments.Flag("transpose_y", false), result.shape);
  NPUMOE_ASSIGN_OR_RETURN(step.x_block, builder.RowMajor(x.name));
  std::vector<BlockId> blocks = {step.x_block};
  if (step.y.transposed) step.weight = builder.WeightView(y.name);
  if (step.weight.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(step.y_block, builder.RowMajor(y.name));
    blocks.push_back(step.y_block);
    if (!step.y.transposed) {
      blocks.push_back(step.y_scratch = builder.Scratch(step.y.rows * step.y.columns));
    }
  }
  if (step.x.transposed) {
    blocks.push_back(step.x_scratch = builder.Scratch(step.x.rows * step.x.columns));
  }
  blocks.push_back(step.out = builder.Declare(result));
  builder.AddStep(std::move(blocks), [step](const Launch& launch) { step.Run(launch); });
  builder.AddRounding(result, step.out);
  const double batches = static_cast<double>(step.x.offsets.size());
  builder.AddProduct({.rows = static_cast<double>(step.x.used_rows()),
                      .flops_per_row = 2.0 * batches * static_cast<double>(step.y.rows) *
                                       static_cast<double>(step.y.columns),
                      .weight_bytes = StreamedBytes(builder, y.name)},
                     x.name);
  return OkStatus();
}

}  // namespace npumoe::emulator
