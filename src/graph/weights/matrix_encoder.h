// MatrixEncoder: a matrix into a weight format while the package is written. Nothing is kept but
// the scales or the table and one block of rows, so that the memory for a program does not grow
// with its experts.
//
// The rules, per format (docs/design/coreml-format.md, section 5):
//   int8, int8-block32  scale = largest magnitude / 127, q = nearest of w / scale in [-127, 127]
//   int4-block32        scale = -(the value of the largest magnitude) / 8, q in [-8, 7]: GGUF's
//                       Q4_0, so that the largest value is met whatever its sign
//   lut4, lut6          k-means (palette.h)
// Scales are fp16 before they divide; one that would cut the largest value off is the next higher.
#pragma once

#include <memory>
#include <optional>

#include "base/status.h"
#include "graph/weight_format.h"
#include "graph/weights/matrix_source.h"

namespace npumoe {

class MatrixEncoder {
 public:
  // kUnsupported where the format does not take the shape.
  static Result<MatrixEncoder> Create(WeightFormat format, MatrixSource source);

  // Its producers read the source and share what they find: the values give the scales on the way.
  // They fail (kNumeric) for NaN and what fp16 cannot hold, naming the matrix and the element. They
  // may outlive this object and be called from several threads.
  WeightMatrix Matrix() const;

  // |materialised - source| / |source| (root of the sums of squares), of the values that were
  // produced last; nothing before.
  std::optional<double> RelativeError() const;

 private:
  class State;
  explicit MatrixEncoder(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

// The matrix as it is in `blocks` [out, in] of type Q8_0 (int8-block32) or Q4_0 (int4-block32): the
// same integers and the same scales. `blocks` must outlive the result. kUnsupported for other
// types; the producers fail for scales that are no numbers or whose products fp16 cannot hold.
Result<WeightMatrix> TakeOverBlocks(const TensorView& blocks, const std::string& what);

}  // namespace npumoe
