// Operations that move values without computing.
#include <numeric>

#include "graph/shape_inference.h"
#include "npu/emulator/operations.h"
#include "npu/emulator/strided.h"

namespace npumoe::emulator {
namespace {

std::vector<int64_t> ExtentsOf(const Shape& shape) {
  return {shape.axes().begin(), shape.axes().end()};
}

void AddCopy(StepBuilder& builder, std::vector<int64_t> extents, BlockId from,
             StridedView from_view, BlockId to, StridedView to_view) {
  builder.AddStep({from, to}, [=](const Launch& launch) {
    CopyStrided(extents, from_view, launch.Read(from).data(), to_view, launch.Write(to).data());
  });
}

int64_t PositiveAxis(int64_t axis, int rank) { return axis < 0 ? axis + rank : axis; }

}  // namespace

Status AddReshape(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  NPUMOE_ASSIGN_OR_RETURN(const BlockId block, builder.RowMajor(arguments.Spec("x").name));
  builder.DeclareAlias(operation.outputs.front(), block);
  return OkStatus();
}

Status AddTranspose(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const TensorSpec& x = arguments.Spec("x");
  const TensorSpec& result = operation.outputs.front();
  const std::vector<int64_t> own = RowMajorStrides(x.shape);
  StridedView view;
  for (int64_t axis : arguments.Ints("perm")) {
    view.strides.push_back(own[static_cast<size_t>(PositiveAxis(axis, x.shape.rank()))]);
  }
  NPUMOE_ASSIGN_OR_RETURN(const BlockId from, builder.RowMajor(x.name));
  const BlockId to = builder.Declare(result);
  AddCopy(builder, ExtentsOf(result.shape), from, view, to, {0, RowMajorStrides(result.shape)});
  return OkStatus();
}

Status AddSlice(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const TensorSpec& x = arguments.Spec("x");
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<AxisSlice> slices, ResolveSlice(arguments));
  const std::vector<int64_t> own = RowMajorStrides(x.shape);
  StridedView from_view, to_view;
  std::vector<int64_t> extents;
  for (size_t axis = 0; axis < slices.size(); ++axis) {
    from_view.offset += slices[axis].begin * own[axis];
    from_view.strides.push_back(slices[axis].stride * own[axis]);
    extents.push_back(slices[axis].count);
  }
  // Squeezed axes have one position, so the result is the row-major copy of `extents`.
  to_view.strides = RowMajorStrides(Shape(extents));
  NPUMOE_ASSIGN_OR_RETURN(const BlockId from, builder.RowMajor(x.name));
  const BlockId to = builder.Declare(operation.outputs.front());
  AddCopy(builder, extents, from, from_view, to, to_view);
  return OkStatus();
}

Status AddConcat(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const TensorSpec& result = operation.outputs.front();
  const auto axis =
      static_cast<size_t>(PositiveAxis(arguments.Int("axis", 0), result.shape.rank()));
  const std::vector<int64_t> strides = RowMajorStrides(result.shape);
  const BlockId to = builder.Declare(result);
  int64_t begin = 0;
  for (const TensorSpec* value : arguments.Specs("values")) {
    NPUMOE_ASSIGN_OR_RETURN(const BlockId from, builder.RowMajor(value->name));
    AddCopy(builder, ExtentsOf(value->shape), from, {0, RowMajorStrides(value->shape)}, to,
            {begin * strides[axis], strides});
    begin += value->shape[static_cast<int>(axis)];
  }
  return OkStatus();
}

Status AddSplit(StepBuilder& builder, const Operation& operation, const Arguments& arguments) {
  const TensorSpec& x = arguments.Spec("x");
  const auto axis = static_cast<size_t>(PositiveAxis(arguments.Int("axis", 0), x.shape.rank()));
  const std::vector<int64_t> strides = RowMajorStrides(x.shape);
  NPUMOE_ASSIGN_OR_RETURN(const BlockId from, builder.RowMajor(x.name));
  int64_t begin = 0;
  for (const TensorSpec& part : operation.outputs) {
    const BlockId to = builder.Declare(part);
    AddCopy(builder, ExtentsOf(part.shape), from, {begin * strides[axis], strides}, to,
            {0, RowMajorStrides(part.shape)});
    begin += part.shape[static_cast<int>(axis)];
  }
  return OkStatus();
}

}  // namespace npumoe::emulator
