// Compressed weights. Integers stay what they are: a constant in the package's bytes, converted,
// shifted and scaled, the pattern in which plugins keep weights compressed. Tables are looked up
// here: the library has no tensor of table indices.
#include <algorithm>
#include <openvino/op/convert.hpp>
#include <openvino/op/multiply.hpp>
#include <openvino/op/subtract.hpp>

#include "base/aligned_buffer.h"
#include "graph/weights/materialised.h"
#include "npu/openvino/module/lowering.h"
#include "npu/openvino/module/nodes.h"

namespace npumoe::openvino {
namespace {

// Shapes in which a scale for each block becomes a broadcast: an axis that has several blocks of
// several elements is cut in two, [blocks, elements of a block].
struct BlockShapes {
  ov::Shape data, scale;
};

BlockShapes BlockShapesOf(const Shape& data, const Shape& scale) {
  BlockShapes shapes;
  for (int axis = 0; axis < data.rank(); ++axis) {
    const auto length = static_cast<size_t>(data[axis]);
    const auto parts = static_cast<size_t>(scale[axis]);
    if (parts == 1 || parts == length) {
      shapes.data.push_back(length);
      shapes.scale.push_back(parts);
    } else {
      shapes.data.insert(shapes.data.end(), {parts, length / parts});
      shapes.scale.insert(shapes.scale.end(), {parts, 1});
    }
  }
  return shapes;
}

// What a table's weight becomes: fp16 or fp32 values in memory of ours.
struct Table {
  AlignedBuffer<std::byte> bytes;
};

void Store(std::span<const float> values, DType dtype, int64_t first, std::byte* bytes) {
  const int64_t end = first + static_cast<int64_t>(values.size());
  for (int64_t i = first; i < end; ++i) {
    const float value = values[static_cast<size_t>(i - first)];
    if (dtype == DType::kF16) {
      reinterpret_cast<uint16_t*>(bytes)[i] = F16FromF32(value);
    } else {
      reinterpret_cast<float*>(bytes)[i] = value;
    }
  }
}

}  // namespace

Lowered LowerBlockwiseShiftScale(Lowering& lowering, const Operation& operation,
                                 const Arguments& arguments) {
  const TensorSpec& result = operation.outputs.front();
  const BlockShapes shapes = BlockShapesOf(result.shape, arguments.ShapeOf("scale"));
  const ov::element::Type type = ElementType(result.dtype);
  NPUMOE_ASSIGN_OR_RETURN(const Value data,
                          lowering.Operand(arguments.Spec("data").name, shapes.data));
  NPUMOE_ASSIGN_OR_RETURN(const Value scale,
                          lowering.Operand(arguments.Spec("scale").name, shapes.scale));
  Value value = Node<ov::op::v0::Convert>(data, type);
  if (arguments.Has("offset")) {
    NPUMOE_ASSIGN_OR_RETURN(const Value offset,
                            lowering.Operand(arguments.Spec("offset").name, shapes.scale));
    value = Node<ov::op::v1::Subtract>(value, Node<ov::op::v0::Convert>(offset, type));
  }
  value = Node<ov::op::v1::Multiply>(value, scale);
  const ov::Shape whole = ShapeOf(result.shape);
  return ov::OutputVector{shapes.data == whole ? value : Reshaped(value, whole)};
}

Lowered LowerLutToDense(Lowering& lowering, const Operation& operation, const Arguments&) {
  const TensorSpec& result = operation.outputs.front();
  NPUMOE_ASSIGN_OR_RETURN(const MaterialisedWeight weight,
                          MaterialisedWeight::Of(lowering.graph(), operation));
  const auto table = std::make_shared<Table>();
  table->bytes.Resize(result.bytes());
  constexpr int64_t kChunk = 4096;  // chosen: stays in the first-level cache
  std::vector<float> values(static_cast<size_t>(std::min(kChunk, weight.elements())));
  for (int64_t first = 0; first < weight.elements(); first += kChunk) {
    const int64_t count = std::min(kChunk, weight.elements() - first);
    const std::span<float> chunk = std::span(values).first(static_cast<size_t>(count));
    weight.Read(first, chunk);
    Store(chunk, result.dtype, first, table->bytes.data());
  }
  return ov::OutputVector{NamedConstant(result.name, ElementType(result.dtype),
                                        ShapeOf(result.shape), table->bytes.data(), table)};
}

}  // namespace npumoe::openvino
