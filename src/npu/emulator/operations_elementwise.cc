// Element-wise operations. They compute in fp32; the rounding step that follows makes the result
// what a tensor of the declared type holds.
#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/activation/activation.h"
#include "npu/emulator/operations.h"
#include "npu/emulator/strided.h"

namespace npumoe::emulator {
namespace {

constexpr int64_t kQuantum = 2048;  // elements; chosen: some microseconds of work

// Parameters of the operations that have some.
struct UnaryParameters {
  float epsilon = 0;  // rsqrt
  float low = 0;      // clip
  float high = 0;
};
using UnaryBody = void (*)(std::span<const float> in, const UnaryParameters&, std::span<float> out);

template <class Function>
void Map(std::span<const float> in, std::span<float> out, Function function) {
  for (size_t i = 0; i < in.size(); ++i) out[i] = function(in[i]);
}

// silu(x) = SwiGLU with an up projection of ones: x * 1 is exact, so the kernel can be used.
void Silu(std::span<const float> in, const UnaryParameters&, std::span<float> out) {
  static constexpr auto kOnes = [] {
    std::array<float, 512> ones{};
    for (float& one : ones) one = 1;
    return ones;
  }();
  std::copy(in.begin(), in.end(), out.begin());
  for (size_t begin = 0; begin < out.size(); begin += kOnes.size()) {
    const size_t count = std::min(kOnes.size(), out.size() - begin);
    SwiGlu(std::span(kOnes).first(count), out.subspan(begin, count));
  }
}

UnaryBody FindUnary(std::string_view type) {
  if (type == "silu") return Silu;
  if (type == "sigmoid") {
    return [](auto in, const auto&, auto out) {
      Map(in, out, [](float x) { return 1.0f / (1.0f + std::exp(-x)); });
    };
  }
  if (type == "exp") {
    return
        [](auto in, const auto&, auto out) { Map(in, out, [](float x) { return std::exp(x); }); };
  }
  if (type == "sqrt") {
    return
        [](auto in, const auto&, auto out) { Map(in, out, [](float x) { return std::sqrt(x); }); };
  }
  if (type == "rsqrt") {
    return [](auto in, const auto& parameters, auto out) {
      Map(in, out, [&](float x) { return 1.0f / std::sqrt(x + parameters.epsilon); });
    };
  }
  if (type == "clip") {  // NaN stays NaN
    return [](auto in, const auto& parameters, auto out) {
      Map(in, out, [&](float x) { return x < parameters.low ? parameters.low : x; });
      Map(out, out, [&](float x) { return x > parameters.high ? parameters.high : x; });
    };
  }
  if (type == "square") {
    return [](auto in, const auto&, auto out) { Map(in, out, [](float x) { return x * x; }); };
  }
  if (type == "abs") {
    return
        [](auto in, const auto&, auto out) { Map(in, out, [](float x) { return std::abs(x); }); };
  }
  NPUMOE_CHECK(type == "cast");  // between F16 and F32: the rounding step does the work
  return [](auto in, const auto&, auto out) { std::copy(in.begin(), in.end(), out.begin()); };
}

using BinaryBody = float (*)(float, float);

BinaryBody FindBinary(std::string_view type) {
  if (type == "add") return [](float a, float b) { return a + b; };
  if (type == "sub") return [](float a, float b) { return a - b; };
  if (type == "mul") return [](float a, float b) { return a * b; };
  if (type == "real_div") return [](float a, float b) { return a / b; };
  NPUMOE_CHECK(type == "maximum");
  return [](float a, float b) { return std::max(a, b); };
}

// The switch stands outside the loop so that the compiler vectorises the common ones.
void Combine(BinaryBody body, std::string_view type, std::span<const float> a,
             std::span<const float> b, std::span<float> out) {
  if (type == "mul") {
    for (size_t i = 0; i < out.size(); ++i) out[i] = a[i] * b[i];
  } else if (type == "add") {
    for (size_t i = 0; i < out.size(); ++i) out[i] = a[i] + b[i];
  } else {
    for (size_t i = 0; i < out.size(); ++i) out[i] = body(a[i], b[i]);
  }
}

void AddSameShape(StepBuilder& builder, const std::string& type, BlockId a, BlockId b,
                  BlockId out) {
  builder.AddStep({a, b, out}, [type, body = FindBinary(type), a, b, out](const Launch& launch) {
    const std::span<const float> left = launch.Read(a);
    const std::span<const float> right = launch.Read(b);
    const std::span<float> result = launch.Write(out);
    launch.pool->ParallelRanges(
        static_cast<int64_t>(result.size()), kQuantum, [&](int64_t begin, int64_t end, int) {
          const auto first = static_cast<size_t>(begin);
          const auto count = static_cast<size_t>(end - begin);
          Combine(body, type, left.subspan(first, count), right.subspan(first, count),
                  result.subspan(first, count));
        });
  });
}

// Strides of `from` walked over the axes of `to`: 0 where an axis is repeated.
std::vector<int64_t> BroadcastStrides(const Shape& from, const Shape& to) {
  const std::vector<int64_t> own = RowMajorStrides(from);
  std::vector<int64_t> strides(static_cast<size_t>(to.rank()), 0);
  for (int axis = 0; axis < from.rank(); ++axis) {
    const int at = to.rank() - from.rank() + axis;
    if (from[axis] != 1) strides[static_cast<size_t>(at)] = own[static_cast<size_t>(axis)];
  }
  return strides;
}

void AddBroadcast(StepBuilder& builder, const std::string& type, const Shape& x, const Shape& y,
                  const TensorSpec& result, const std::array<BlockId, 3>& ids) {
  const StridedView x_view{0, BroadcastStrides(x, result.shape)};
  const StridedView y_view{0, BroadcastStrides(y, result.shape)};
  const std::vector<int64_t> extents(result.shape.axes().begin(), result.shape.axes().end());
  builder.AddStep({ids[0], ids[1], ids[2]}, [=, body = FindBinary(type)](const Launch& launch) {
    const float* left = launch.Read(ids[0]).data();
    const float* right = launch.Read(ids[1]).data();
    float* out = launch.Write(ids[2]).data();
    const int64_t x_step = extents.empty() ? 0 : x_view.strides.back();
    const int64_t y_step = extents.empty() ? 0 : y_view.strides.back();
    ForEachRow(extents, x_view, y_view, [&](int64_t at_x, int64_t at_y, int64_t count) {
      if (x_step == 1 && y_step == 1) {
        const auto width = static_cast<size_t>(count);
        Combine(body, type, {left + at_x, width}, {right + at_y, width}, {out, width});
        out += count;
        return;
      }
      for (int64_t i = 0; i < count; ++i) {
        *out++ = body(left[at_x + i * x_step], right[at_y + i * y_step]);
      }
    });
  });
}

}  // namespace

Status AddUnary(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const std::string& x = arguments.Spec("x").name;
  const TensorSpec& result = operation.outputs.front();
  UnaryParameters parameters;
  if (operation.type == "rsqrt") {
    NPUMOE_ASSIGN_OR_RETURN(parameters.epsilon, builder.ScalarFloat(arguments, "epsilon", 1e-12f));
  }
  if (operation.type == "clip") {
    NPUMOE_ASSIGN_OR_RETURN(parameters.low, builder.ScalarFloat(arguments, "alpha", 0));
    NPUMOE_ASSIGN_OR_RETURN(parameters.high, builder.ScalarFloat(arguments, "beta", 0));
  }
  const bool token_major = builder.IsOnlyTokenMajor(x);
  NPUMOE_ASSIGN_OR_RETURN(const BlockId in,
                          token_major ? builder.TokenMajor(x) : builder.RowMajor(x));
  const BlockId out = token_major ? builder.DeclareTokenMajor(result) : builder.Declare(result);
  builder.AddStep(
      {in, out}, [body = FindUnary(operation.type), parameters, in, out](const Launch& launch) {
        const std::span<const float> from = launch.Read(in);
        const std::span<float> to = launch.Write(out);
        launch.pool->ParallelRanges(
            static_cast<int64_t>(to.size()), kQuantum, [&](int64_t begin, int64_t end, int) {
              const auto first = static_cast<size_t>(begin);
              const auto count = static_cast<size_t>(end - begin);
              body(from.subspan(first, count), parameters, to.subspan(first, count));
            });
      });
  builder.AddRounding(result, out);
  return OkStatus();
}

Status AddBinary(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const std::string& x = arguments.Spec("x").name;
  const std::string& y = arguments.Spec("y").name;
  const Shape& x_shape = arguments.ShapeOf("x");
  const Shape& y_shape = arguments.ShapeOf("y");
  const TensorSpec& result = operation.outputs.front();
  const bool same = x_shape == y_shape;
  const bool token_major = same && builder.IsOnlyTokenMajor(x) && builder.IsOnlyTokenMajor(y);
  NPUMOE_ASSIGN_OR_RETURN(const BlockId a,
                          token_major ? builder.TokenMajor(x) : builder.RowMajor(x));
  NPUMOE_ASSIGN_OR_RETURN(const BlockId b,
                          token_major ? builder.TokenMajor(y) : builder.RowMajor(y));
  const BlockId out = token_major ? builder.DeclareTokenMajor(result) : builder.Declare(result);
  if (same) {
    AddSameShape(builder, operation.type, a, b, out);
  } else {
    AddBroadcast(builder, operation.type, x_shape, y_shape, result, {a, b, out});
  }
  builder.AddRounding(result, out);
  return OkStatus();
}

}  // namespace npumoe::emulator
