// Weights and inputs of the conformance test: functions of a seed and a position, the same on every
// machine, so that nobody has to hold a matrix that is written.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "graph/graph.h"
#include "graph/weight_format.h"
#include "graph/weights/declare_matrix.h"
#include "kernels/matrix.h"

namespace npumoe {

// About normal with standard deviation 1, between -3.5 and 3.5.
float SeededNormal(uint64_t seed, int64_t index);

// What fp16 holds, `scale` times SeededNormal.
std::vector<float> SeededHalves(int64_t count, uint64_t seed, float scale);

// Values of standard deviation 1 / sqrt(in), as a layer has that keeps magnitudes, in `format`.
// kUnsupported where the format does not take the shape.
Result<WeightMatrix> SeededMatrix(WeightFormat format, MatrixShape shape, uint64_t seed);

// fp16 values around `mean`: biases and gains.
WeightData SeededVector(uint64_t seed, float mean, float scale);

// fp16 values as a kernel takes them. `halves` must outlive the view.
TensorView ViewOf(std::span<const uint16_t> halves, const Shape& shape);
std::vector<float> FloatsOf(std::span<const uint16_t> halves);

// [rows, channels] -> [channels, rows], the order of tensors [1, channels, 1, rows].
std::vector<float> ChannelsFirst(ConstMatrix rows);

}  // namespace npumoe
