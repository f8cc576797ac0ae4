#include "graph/weights/declare_matrix.h"

#include <algorithm>
#include <vector>

namespace npumoe {
namespace {

using Value = GraphBuilder::Value;

Status Fill(const WeightData& weight, std::span<std::byte> bytes) {
  if (weight.view.empty()) return weight.produce(bytes);
  std::copy_n(weight.view.data, bytes.size(), bytes.data());
  return OkStatus();
}

// Where rows and columns of one matrix lie in a weight.
struct Placement {
  Shape shape;  // of all matrices together
  int column_axis = 0;
  int64_t count = 1;
};

Shape With(const Shape& shape, int axis, int64_t length) {
  std::vector<int64_t> axes(shape.axes().begin(), shape.axes().end());
  axes[static_cast<size_t>(axis)] = length;
  return Shape(axes);
}

Shape ScaleShape(const Placement& placement, WeightFormat format) {
  const int64_t block = ScaleBlock(format);
  const int64_t blocks = block == 0 ? 1 : placement.shape[placement.column_axis] / block;
  return With(placement.shape, placement.column_axis, blocks);
}

// One table for every matrix: axis 0 runs over the matrices in both placements.
Shape TableShape(const Placement& placement, WeightFormat format) {
  std::vector<int64_t> axes(static_cast<size_t>(placement.shape.rank()), 1);
  axes.front() = placement.count;
  axes.push_back(TableEntries(format));
  axes.push_back(1);
  return Shape(axes);
}

Value Declare(GraphBuilder& builder, const std::string& name, const WeightMatrix& matrix,
              const Placement& placement) {
  const DType type = ValuesType(matrix.format);
  if (matrix.format == WeightFormat::kF16) {
    return builder.Weight(name, type, placement.shape, matrix.values);
  }
  if (TableEntries(matrix.format) > 0) {
    return builder.LutToDense(name, {type, placement.shape, matrix.values},
                              {DType::kF16, TableShape(placement, matrix.format), matrix.scales});
  }
  return builder.BlockwiseShiftScale(
      name, {type, placement.shape, matrix.values},
      {DType::kF16, ScaleShape(placement, matrix.format), matrix.scales});
}

}  // namespace

bool IsAbsent(const WeightData& weight) { return weight.view.empty() && !weight.produce; }

Status CheckWeightData(const WeightData& weight, DType dtype, int64_t elements,
                       const std::string& what) {
  if (!weight.view.empty()) {
    if (weight.view.dtype == dtype && weight.view.shape.elements() == elements) return {};
    return InvalidInput(what + " is " + Name(weight.view.dtype) + " " +
                        weight.view.shape.ToString() + "; " + Name(dtype) + " with " +
                        std::to_string(elements) + " elements is needed");
  }
  return weight.produce ? OkStatus() : InvalidInput(what + " has neither bytes nor a producer");
}

Status CheckMatrix(const WeightMatrix& matrix, MatrixShape shape, const std::string& what) {
  const int64_t block = ScaleBlock(matrix.format);
  if (block > 0 && shape.in % block != 0) {
    return Unsupported(what + ": rows of " + std::to_string(shape.in) + " values; the format " +
                       Name(matrix.format) + " needs a multiple of " + std::to_string(block) +
                       "; use int8");
  }
  NPUMOE_RETURN_IF_ERROR(
      CheckWeightData(matrix.values, ValuesType(matrix.format), shape.out * shape.in, what));
  const int64_t scales = ScaleCount(matrix.format, shape.out, shape.in);
  if (scales > 0) {
    const char* part = TableEntries(matrix.format) > 0 ? ", its table" : ", its scales";
    return CheckWeightData(matrix.scales, DType::kF16, scales, what + part);
  }
  return IsAbsent(matrix.scales) ? OkStatus() : InvalidInput(what + ": fp16 has no scales");
}

Status CheckStackable(WeightFormat format, MatrixShape shape, const std::string& what) {
  const int64_t elements = shape.out * shape.in;
  const auto bits = static_cast<int64_t>(MeanBitsPerElement(ValuesType(format)));
  if (elements % 8 * bits % 8 == 0) return OkStatus();
  return Unsupported(what + ": " + std::to_string(elements) + " values of " + std::to_string(bits) +
                     " bits end within a byte, so that matrices cannot " +
                     "follow one another; use form C or another format");
}

WeightData Stacked(std::span<const WeightData> parts) {
  if (parts.size() == 1) return parts.front();
  WeightData stacked;
  for (const WeightData& part : parts) {
    if (part.identity.empty()) {
      stacked.identity.clear();
      break;
    }
    stacked.identity += part.identity + "\n";
  }
  stacked.produce = [parts = std::vector(parts.begin(), parts.end())](std::span<std::byte> bytes) {
    const size_t part_bytes = bytes.size() / parts.size();
    for (size_t i = 0; i < parts.size(); ++i) {
      NPUMOE_RETURN_IF_ERROR(Fill(parts[i], bytes.subspan(i * part_bytes, part_bytes)));
    }
    return OkStatus();
  };
  return stacked;
}

WeightMatrix Stacked(std::span<const WeightMatrix> parts) {
  std::vector<WeightData> values, scales;
  for (const WeightMatrix& part : parts) {
    values.push_back(part.values);
    scales.push_back(part.scales);
  }
  const WeightFormat format = parts.front().format;
  return {format, Stacked(values), format == WeightFormat::kF16 ? WeightData{} : Stacked(scales)};
}

Value DeclareConvWeight(GraphBuilder& builder, const std::string& name, const WeightMatrix& matrix,
                        MatrixShape shape, int64_t count) {
  return Declare(
      builder, name, matrix,
      {.shape = Shape{count * shape.out, shape.in, 1, 1}, .column_axis = 1, .count = count});
}

Value DeclareBatchedWeight(GraphBuilder& builder, const std::string& name,
                           const WeightMatrix& matrix, MatrixShape shape, int64_t count) {
  return Declare(builder, name, matrix,
                 {.shape = Shape{count, shape.out, shape.in}, .column_axis = 2, .count = count});
}

}  // namespace npumoe
