// Reductions over axes: sums and maxima, softmax, layer norm. Accumulation in fp32.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/checked_math.h"
#include "npu/emulator/operations.h"
#include "npu/emulator/strided.h"

namespace npumoe::emulator {
namespace {

std::vector<int64_t> AllAxes(int rank) {
  std::vector<int64_t> axes(static_cast<size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

// The values that one reduction runs over.
class Lane {
 public:
  Lane(const AxisSplit& split, int64_t outer) : split_(split) {
    base_ = OffsetOf(outer, split.outer_extents, split.outer_strides);
  }
  int64_t At(int64_t i) const {
    return base_ + OffsetOf(i, split_.inner_extents, split_.inner_strides);
  }

 private:
  const AxisSplit& split_;
  int64_t base_ = 0;
};

template <class Body>
void ForEachLane(const AxisSplit& split, ThreadPool& pool, const Body& body) {
  constexpr int64_t kQuantum = 8;  // lanes handed out together; chosen
  pool.ParallelRanges(split.outer_count(), kQuantum, [&](int64_t begin, int64_t end, int) {
    for (int64_t outer = begin; outer < end; ++outer) body(outer, Lane(split, outer));
  });
}

float Reduce(const std::string& type, const float* values, const Lane& lane, int64_t count) {
  if (type == "reduce_max") {
    float largest = -std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, values[lane.At(i)]);
    return largest;
  }
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += values[lane.At(i)];
  return type == "reduce_mean" ? sum / static_cast<float>(count) : sum;
}

// One axis, as [before, length, after]: some lanes that lie side by side are reduced together, so
// that memory is read row by row. Each lane sees its values in the same order as alone.
struct SingleAxis {
  int64_t before = 1;
  int64_t length = 1;
  int64_t after = 1;
};

SingleAxis SplitAt(const Shape& shape, int64_t axis) {
  SingleAxis split;
  const int64_t at = axis < 0 ? axis + shape.rank() : axis;
  for (int i = 0; i < shape.rank(); ++i) {
    (i < at ? split.before : i == at ? split.length : split.after) *= shape[i];
  }
  return split;
}

constexpr int64_t kLanes = 64;  // side by side; chosen: some cache lines of each row

// Calls body(offset of the first value, index of the first lane, number of lanes).
template <class Body>
void ForEachStrip(const SingleAxis& split, ThreadPool& pool, const Body& body) {
  const int64_t strips = DivideRoundUp(split.after, kLanes);
  pool.ParallelFor(split.before * strips, [&](int64_t index, int) {
    const int64_t before = index / strips;
    const int64_t lane = index % strips * kLanes;
    body(before * split.length * split.after + lane, before * split.after + lane,
         std::min(kLanes, split.after - lane));
  });
}

void ReduceStrip(const std::string& type, const float* in, const SingleAxis& split, int64_t lanes,
                 float* out) {
  const bool largest = type == "reduce_max";
  std::fill_n(out, lanes, largest ? -std::numeric_limits<float>::infinity() : 0.0f);
  for (int64_t i = 0; i < split.length; ++i, in += split.after) {
    for (int64_t c = 0; c < lanes; ++c) out[c] = largest ? std::max(out[c], in[c]) : out[c] + in[c];
  }
  if (type != "reduce_mean") return;
  for (int64_t c = 0; c < lanes; ++c) out[c] /= static_cast<float>(split.length);
}

void SoftmaxStrip(const float* in, const SingleAxis& split, int64_t lanes, float* out) {
  float largest[kLanes], sum[kLanes];
  ReduceStrip("reduce_max", in, split, lanes, largest);
  std::fill_n(sum, lanes, 0.0f);
  for (int64_t row = 0; row < split.length * split.after; row += split.after) {
    for (int64_t c = 0; c < lanes; ++c) sum[c] += out[row + c] = std::exp(in[row + c] - largest[c]);
  }
  for (int64_t row = 0; row < split.length * split.after; row += split.after) {
    for (int64_t c = 0; c < lanes; ++c) out[row + c] /= sum[c];
  }
}

struct Affine {
  std::span<const float> gamma, beta;  // empty: 1 and 0
};

void NormLane(const float* in, const Lane& lane, int64_t count, float epsilon, const Affine& affine,
              float* out) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += in[lane.At(i)];
  const float mean = sum / static_cast<float>(count);
  float squares = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float difference = in[lane.At(i)] - mean;
    squares += difference * difference;
  }
  const float scale = 1.0f / std::sqrt(squares / static_cast<float>(count) + epsilon);
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    const float gamma = affine.gamma.empty() ? 1.0f : affine.gamma[at];
    const float beta = affine.beta.empty() ? 0.0f : affine.beta[at];
    out[lane.At(i)] = (in[lane.At(i)] - mean) * scale * gamma + beta;
  }
}

Result<std::span<const float>> OptionalFloats(StepBuilder& builder, const Arguments& arguments,
                                              const char* parameter) {
  if (!arguments.Has(parameter)) return std::span<const float>();
  return builder.ConstantFloats(arguments.Spec(parameter).name);
}

}  // namespace

Status AddReduce(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const TensorSpec& x = arguments.Spec("x");
  const TensorSpec& result = operation.outputs.front();
  const std::vector<int64_t> axes = arguments.Ints("axes", AllAxes(x.shape.rank()));
  NPUMOE_ASSIGN_OR_RETURN(const BlockId in, builder.RowMajor(x.name));
  const BlockId out = builder.Declare(result);
  if (axes.size() == 1) {
    const SingleAxis split = SplitAt(x.shape, axes.front());
    builder.AddStep({in, out}, [type = operation.type, split, in, out](const Launch& launch) {
      const float* from = launch.Read(in).data();
      float* to = launch.Write(out).data();
      ForEachStrip(split, *launch.pool, [&](int64_t offset, int64_t lane, int64_t lanes) {
        ReduceStrip(type, from + offset, split, lanes, to + lane);
      });
    });
  } else {
    const AxisSplit split = SplitAxes(x.shape, axes);
    builder.AddStep({in, out}, [type = operation.type, split, in, out](const Launch& launch) {
      const float* from = launch.Read(in).data();
      float* to = launch.Write(out).data();
      ForEachLane(split, *launch.pool, [&](int64_t outer, const Lane& lane) {
        to[outer] = Reduce(type, from, lane, split.inner_count());
      });
    });
  }
  builder.AddRounding(result, out);
  return OkStatus();
}

Status AddSoftmax(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const TensorSpec& x = arguments.Spec("x");
  const TensorSpec& result = operation.outputs.front();
  const SingleAxis split = SplitAt(x.shape, arguments.Int("axis", -1));
  NPUMOE_ASSIGN_OR_RETURN(const BlockId in, builder.RowMajor(x.name));
  const BlockId out = builder.Declare(result);
  builder.AddStep({in, out}, [split, in, out](const Launch& launch) {
    const float* from = launch.Read(in).data();
    float* to = launch.Write(out).data();
    ForEachStrip(split, *launch.pool, [&](int64_t offset, int64_t, int64_t lanes) {
      SoftmaxStrip(from + offset, split, lanes, to + offset);
    });
  });
  builder.AddRounding(result, out);
  builder.activation_bytes += static_cast<double>(x.bytes() + result.bytes());
  return OkStatus();
}

Status AddLayerNorm(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const TensorSpec& x = arguments.Spec("x");
  const TensorSpec& result = operation.outputs.front();
  const std::vector<int64_t> axes = arguments.Ints("axes", AllAxes(x.shape.rank()));
  Affine affine;
  NPUMOE_ASSIGN_OR_RETURN(affine.gamma, OptionalFloats(builder, arguments, "gamma"));
  NPUMOE_ASSIGN_OR_RETURN(affine.beta, OptionalFloats(builder, arguments, "beta"));
  // gamma and beta follow the order in which the axes are listed; lanes follow the tensor's.
  const bool has_affine = !affine.gamma.empty() || !affine.beta.empty();
  if (has_affine && !std::is_sorted(axes.begin(), axes.end())) {
    return arguments.NotSupported("axes that do not ascend together with gamma or beta");
  }
  NPUMOE_ASSIGN_OR_RETURN(const float epsilon, builder.ScalarFloat(arguments, "epsilon", 1e-5f));
  const AxisSplit split = SplitAxes(x.shape, axes);
  NPUMOE_ASSIGN_OR_RETURN(const BlockId in, builder.RowMajor(x.name));
  const BlockId out = builder.Declare(result);
  builder.AddStep({in, out}, [split, affine, epsilon, in, out](const Launch& launch) {
    const float* from = launch.Read(in).data();
    float* to = launch.Write(out).data();
    ForEachLane(split, *launch.pool, [&](int64_t, const Lane& lane) {
      NormLane(from, lane, split.inner_count(), epsilon, affine, to);
    });
  });
  builder.AddRounding(result, out);
  return OkStatus();
}

}  // namespace npumoe::emulator
