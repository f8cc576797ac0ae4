// Head programs: logits of the vocabulary in slices.
#include <fmt/format.h>

#include <utility>

#include "graph/head_program.h"
#include "graph/weights/materialised.h"
#include "kernels/gemm/gemm.h"
#include "runtime/conformance/conformance_case.h"
#include "runtime/conformance/conformance_values.h"

namespace npumoe {
namespace {

enum class Biases { kNone, kAll };

struct HeadClass {
  const char* name;
  HeadProgramShape shape;
  Biases biases = Biases::kNone;
};

constexpr HeadClass kClasses[] = {
    {"one slice", {.hidden = 64, .vocabulary = 96, .rows = 32, .max_slice_entries = 96}},
    {"slices and biases",
     {.hidden = 64, .vocabulary = 250, .rows = 32, .max_slice_entries = 100},
     Biases::kAll},
};

std::vector<float> RowsOf(const HeadProgramShape& shape) {
  return SeededHalves(shape.rows * shape.hidden, 8000, 1);
}

Result<NamedValues> Expected(const HeadClass& of, const Graph& stored) {
  const std::vector<float> x = RowsOf(of.shape);
  const std::vector<HeadSlice> slices = HeadSlices(of.shape);
  NamedValues outputs;
  for (size_t i = 0; i < slices.size(); ++i) {
    const int64_t entries = slices[i].entries;
    NPUMOE_ASSIGN_OR_RETURN(const auto weight, HalvesOf(stored, fmt::format("w_head_{}", i)));
    std::vector<float> bias;
    if (of.biases == Biases::kAll) {
      NPUMOE_ASSIGN_OR_RETURN(const auto halves, HalvesOf(stored, fmt::format("b_head_{}", i)));
      bias = FloatsOf(halves);
    }
    std::vector<float> logits(static_cast<size_t>(of.shape.rows * entries));
    const Matrix out{logits.data(), of.shape.rows, entries, entries};
    MatMulReference({x.data(), of.shape.rows, of.shape.hidden, of.shape.hidden},
                    ViewOf(weight, {entries, of.shape.hidden}), bias, out);
    outputs[fmt::format("logits_{}", i)] = ChannelsFirst(out);
  }
  return outputs;
}

Result<std::vector<ConformanceFunction>> MakeFunctions(const HeadClass& of, WeightFormat format) {
  HeadWeights weights;
  uint64_t seed = 800;
  for (const HeadSlice& slice : HeadSlices(of.shape)) {
    NPUMOE_ASSIGN_OR_RETURN(WeightMatrix matrix,
                            SeededMatrix(format, {slice.entries, of.shape.hidden}, seed));
    weights.slices.push_back(std::move(matrix));
    if (of.biases == Biases::kAll) weights.biases.push_back(SeededVector(seed + 1, 0, 0.3f));
    seed += 2;
  }
  NPUMOE_ASSIGN_OR_RETURN(Graph graph, BuildHeadGraph(of.shape, weights));
  const std::vector<float> x = RowsOf(of.shape);
  NamedValues inputs;
  inputs["x"] = ChannelsFirst({x.data(), of.shape.rows, of.shape.hidden, of.shape.hidden});
  std::vector<ConformanceFunction> functions;
  functions.push_back({std::move(graph), std::move(inputs),
                       [of](const Graph& stored) { return Expected(of, stored); }});
  return functions;
}

}  // namespace

// Tolerance: inputs and weights are fp16 already; a logit is rounded once, and its bias, which some
// devices add afterwards, makes a second rounding.
std::vector<ConformanceCase> HeadCases() {
  std::vector<ConformanceCase> cases;
  for (const HeadClass& of : kClasses) {
    for (const WeightFormat format : kEveryFormat) {
      cases.push_back({"head", of.name, format, std::nullopt,
                       2 * kF16Rounding + WeightRounding(format),
                       [of, format] { return MakeFunctions(of, format); }});
    }
  }
  return cases;
}

}  // namespace npumoe
