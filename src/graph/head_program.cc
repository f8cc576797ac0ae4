#include "graph/head_program.h"

#include <algorithm>

#include "base/checked_math.h"
#include "graph/builder.h"
#include "graph/shape_inference.h"
#include "graph/weights/declare_matrix.h"

namespace npumoe {
namespace {

Status CheckHead(const HeadProgramShape& shape, const HeadWeights& weights) {
  if (shape.hidden < 1 || shape.vocabulary < 1 || shape.rows < 1 || shape.max_slice_entries < 1) {
    return InvalidInput("a head with a size below 1");
  }
  NPUMOE_RETURN_IF_ERROR(CheckedShape(std::vector{shape.vocabulary, shape.hidden}).status());
  const std::vector<HeadSlice> slices = HeadSlices(shape);
  if (weights.slices.size() != slices.size() ||
      (!weights.biases.empty() && weights.biases.size() != slices.size())) {
    return InvalidInput("a head of " + std::to_string(slices.size()) + " slices with " +
                        std::to_string(weights.slices.size()) + " weights and " +
                        std::to_string(weights.biases.size()) + " biases");
  }
  for (size_t i = 0; i < slices.size(); ++i) {
    const std::string what = "head: slice " + std::to_string(i);
    NPUMOE_RETURN_IF_ERROR(CheckMatrix(weights.slices[i], {slices[i].entries, shape.hidden}, what));
    if (weights.biases.empty()) continue;
    NPUMOE_RETURN_IF_ERROR(
        CheckWeightData(weights.biases[i], DType::kF16, slices[i].entries, what + ", bias"));
  }
  return OkStatus();
}

}  // namespace

std::vector<HeadSlice> HeadSlices(const HeadProgramShape& shape) {
  std::vector<HeadSlice> slices;
  const int64_t count = DivideRoundUp(shape.vocabulary, shape.max_slice_entries);
  for (int64_t i = 0; i < count; ++i) {
    // The first ones take what does not divide.
    const int64_t entries = shape.vocabulary / count + (i < shape.vocabulary % count ? 1 : 0);
    slices.push_back({slices.empty() ? 0 : slices.back().first + slices.back().entries, entries});
  }
  return slices;
}

Result<Graph> BuildHeadGraph(const HeadProgramShape& shape, const HeadWeights& weights,
                             const std::string& function_name) {
  NPUMOE_RETURN_IF_ERROR(CheckHead(shape, weights));
  GraphBuilder builder(function_name);
  const GraphBuilder::Value x =
      builder.Input("x", DType::kF16, Shape{1, shape.hidden, 1, shape.rows});
  const std::vector<HeadSlice> slices = HeadSlices(shape);
  for (size_t i = 0; i < slices.size(); ++i) {
    const std::string suffix = "_" + std::to_string(i);
    const GraphBuilder::Value weight = DeclareConvWeight(
        builder, "w_head" + suffix, weights.slices[i], {slices[i].entries, shape.hidden}, 1);
    GraphBuilder::ConvOptions options;
    if (!weights.biases.empty()) {
      options.bias = builder.Weight("b_head" + suffix, DType::kF16, Shape{slices[i].entries},
                                    weights.biases[i]);
    }
    builder.Output(builder.Conv("logits" + suffix, x, weight, options));
  }
  return std::move(builder).Finish();
}

}  // namespace npumoe
