// The programs of the conformance test, and what is right for each: by kind of program, weight
// format and class of shapes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/expert_program.h"
#include "graph/weight_format.h"

namespace npumoe {

// Values by the names of inputs or outputs, in the row-major order of the program's tensors.
using NamedValues = std::map<std::string, std::vector<float>>;

struct ConformanceFunction {
  Graph graph;
  NamedValues inputs;  // what fp16 holds
  // The right outputs, of the reference kernels with the weights of `stored`: this function as it
  // was read back from its package.
  std::function<Result<NamedValues>(const Graph& stored)> expect;
};

struct ConformanceCase {
  std::string program;  // "experts A", "attention", "head"
  std::string shapes;   // "several experts", ...
  WeightFormat format = WeightFormat::kF16;
  std::optional<GraphForm> form;  // of expert programs
  double tolerance = 0;           // of ConformanceVerdict::error
  // The functions of one package, which share its weights.
  std::function<Result<std::vector<ConformanceFunction>>()> make;
};

// Every form, format and class of shapes that can be written. `quantum`: of rows, of the chip.
std::vector<ConformanceCase> ConformanceCases(int64_t quantum);
// Its parts.
std::vector<ConformanceCase> ExpertCases(int64_t quantum);
std::vector<ConformanceCase> AttentionCases();
std::vector<ConformanceCase> LatentAttentionCases();
std::vector<ConformanceCase> HeadCases();

inline constexpr WeightFormat kEveryFormat[] = {
    WeightFormat::kF16,         WeightFormat::kInt8, WeightFormat::kInt8Block32,
    WeightFormat::kInt4Block32, WeightFormat::kLut4, WeightFormat::kLut6};

// fp16 keeps a value within this share of it.
inline constexpr double kF16Rounding = 0x1p-11;

// One more rounding where a weight is an integer times its scale: such a product has more digits
// than fp16 keeps, and devices that compute in more may or may not round it. Entries of tables are
// fp16 themselves.
double WeightRounding(WeightFormat format);

}  // namespace npumoe
