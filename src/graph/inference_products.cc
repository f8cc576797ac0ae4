// Convolution and matrix products.
#include "base/checked_math.h"
#include "graph/inference_rules.h"

namespace npumoe {
namespace {

struct ConvGeometry {
  std::vector<int64_t> strides, pad, dilations;
  std::string pad_type;
};

Result<ConvGeometry> ReadConvGeometry(const Arguments& arguments, size_t spatial_axes) {
  ConvGeometry geometry;
  geometry.strides = arguments.Ints("strides", std::vector<int64_t>(spatial_axes, 1));
  geometry.pad = arguments.Ints("pad", std::vector<int64_t>(2 * spatial_axes, 0));
  geometry.dilations = arguments.Ints("dilations", std::vector<int64_t>(spatial_axes, 1));
  geometry.pad_type = arguments.Text("pad_type", "valid");
  if (geometry.strides.size() != spatial_axes || geometry.dilations.size() != spatial_axes ||
      geometry.pad.size() != 2 * spatial_axes) {
    return arguments.Error("strides, dilations and pad must have " + std::to_string(spatial_axes) +
                           ", " + std::to_string(spatial_axes) + " and " +
                           std::to_string(2 * spatial_axes) + " entries");
  }
  for (const auto* positive : {&geometry.strides, &geometry.dilations}) {
    for (const int64_t entry : *positive) {
      if (entry < 1) return arguments.Error("strides and dilations must be at least 1");
    }
  }
  for (const int64_t entry : geometry.pad) {
    if (entry < 0) return arguments.Error("pad must not be negative");
  }
  return geometry;
}

// Length of one spatial axis of the result.
Result<int64_t> ConvLength(const Arguments& arguments, const ConvGeometry& geometry, size_t axis,
                           int64_t length, int64_t kernel) {
  const int64_t stride = geometry.strides[axis];
  const std::string& pad_type = geometry.pad_type;
  if (pad_type == "same" || pad_type == "same_lower") return (length + stride - 1) / stride;
  if (pad_type != "valid" && pad_type != "custom") {
    return arguments.Error("pad_type '" + pad_type +
                           "'; allowed are valid, custom, same, same_lower");
  }
  if (pad_type == "custom") length += geometry.pad[2 * axis] + geometry.pad[2 * axis + 1];
  const std::optional<int64_t> reach = CheckedMul(geometry.dilations[axis], kernel - 1);
  if (!reach || *reach >= length) {
    return arguments.Error("the dilated kernel is longer than the padded input");
  }
  return (length - *reach - 1) / stride + 1;
}

Status CheckConvChannels(const Arguments& arguments, int64_t groups) {
  const Shape& x = arguments.ShapeOf("x");
  const Shape& weight = arguments.ShapeOf("weight");
  if (groups < 1 || x[1] % groups != 0 || weight[0] % groups != 0) {
    return arguments.Error("groups = " + std::to_string(groups) + " does not divide " +
                           std::to_string(x[1]) + " input and " + std::to_string(weight[0]) +
                           " output channels");
  }
  if (weight[1] != x[1] / groups) {
    return arguments.Error("weight " + weight.ToString() + " has " + std::to_string(weight[1]) +
                           " input channels; x " + x.ToString() + " with groups = " +
                           std::to_string(groups) + " needs " + std::to_string(x[1] / groups));
  }
  return OkStatus();
}

Status CheckBias(const Arguments& arguments, int64_t channels) {
  if (!arguments.Has("bias")) return OkStatus();
  const Shape& bias = arguments.ShapeOf("bias");
  if (bias.rank() != 1 || bias[0] != channels) {
    return arguments.Error("bias " + bias.ToString() + "; [" + std::to_string(channels) +
                           "] is needed");
  }
  return RequireSameType(arguments, "x", "bias");
}

}  // namespace

Inferred InferConv(const Arguments& arguments) {
  const Shape& x = arguments.ShapeOf("x");
  const Shape& weight = arguments.ShapeOf("weight");
  if (x.rank() < 3 || x.rank() > 5 || weight.rank() != x.rank()) {
    return arguments.Error("x " + x.ToString() + " and weight " + weight.ToString() +
                           " must have the same rank, 3 to 5");
  }
  NPUMOE_RETURN_IF_ERROR(RequireFloat(arguments, "x"));
  NPUMOE_RETURN_IF_ERROR(RequireSameType(arguments, "x", "weight"));
  NPUMOE_RETURN_IF_ERROR(CheckConvChannels(arguments, arguments.Int("groups", 1)));
  NPUMOE_RETURN_IF_ERROR(CheckBias(arguments, weight[0]));
  const auto spatial_axes = static_cast<size_t>(x.rank() - 2);
  NPUMOE_ASSIGN_OR_RETURN(const ConvGeometry geometry, ReadConvGeometry(arguments, spatial_axes));
  std::vector<int64_t> axes = {x[0], weight[0]};
  for (size_t axis = 0; axis < spatial_axes; ++axis) {
    const int at = static_cast<int>(axis) + 2;
    NPUMOE_ASSIGN_OR_RETURN(const int64_t length,
                            ConvLength(arguments, geometry, axis, x[at], weight[at]));
    axes.push_back(length);
  }
  return OneOutput(arguments, arguments.Spec("x").dtype, axes);
}

Inferred InferLinear(const Arguments& arguments) {
  const Shape& x = arguments.ShapeOf("x");
  const Shape& weight = arguments.ShapeOf("weight");
  if (x.rank() < 1 || x.rank() > 3 || weight.rank() != 2 || x[x.rank() - 1] != weight[1]) {
    return arguments.Error("x " + x.ToString() + " and weight " + weight.ToString() +
                           "; x of rank 1 to 3 must end in the weight's second axis");
  }
  NPUMOE_RETURN_IF_ERROR(RequireFloat(arguments, "x"));
  NPUMOE_RETURN_IF_ERROR(RequireSameType(arguments, "x", "weight"));
  NPUMOE_RETURN_IF_ERROR(CheckBias(arguments, weight[0]));
  std::vector<int64_t> axes(x.axes().begin(), x.axes().end());
  axes.back() = weight[0];
  return OneOutput(arguments, arguments.Spec("x").dtype, axes);
}

Inferred InferMatMul(const Arguments& arguments) {
  std::vector<int64_t> x(arguments.ShapeOf("x").axes().begin(),
                         arguments.ShapeOf("x").axes().end());
  std::vector<int64_t> y(arguments.ShapeOf("y").axes().begin(),
                         arguments.ShapeOf("y").axes().end());
  if (x.size() < 2 || y.size() < 2) {
    return arguments.NotSupported("operands of rank below 2; reshape them first");
  }
  NPUMOE_RETURN_IF_ERROR(RequireFloat(arguments, "x"));
  NPUMOE_RETURN_IF_ERROR(RequireSameType(arguments, "x", "y"));
  if (arguments.Flag("transpose_x", false)) std::swap(x[x.size() - 1], x[x.size() - 2]);
  if (arguments.Flag("transpose_y", false)) std::swap(y[y.size() - 1], y[y.size() - 2]);
  if (x.back() != y[y.size() - 2]) {
    return arguments.Error("inner lengths " + std::to_string(x.back()) + " and " +
                           std::to_string(y[y.size() - 2]) + " differ (after transposition)");
  }
  NPUMOE_ASSIGN_OR_RETURN(
      std::vector<int64_t> axes,
      BroadcastAxes(arguments, std::span(x).first(x.size() - 2), std::span(y).first(y.size() - 2)));
  axes.push_back(x[x.size() - 2]);
  axes.push_back(y.back());
  return OneOutput(arguments, arguments.Spec("x").dtype, axes);
}

}  // namespace npumoe
