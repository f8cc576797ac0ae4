#include "graph/validator.h"

#include <gtest/gtest.h>

#include <limits>

#include "graph/testing/sample_graphs.h"

namespace npumoe {
namespace {

using testing::ExpertGraph;
using Value = GraphBuilder::Value;

// The violation of one rule, or null.
const Violation* Of(const std::vector<Violation>& violations, const std::string& rule) {
  for (const Violation& violation : violations) {
    if (violation.rule == rule) return &violation;
  }
  return nullptr;
}

void ExpectViolation(const Graph& graph, const GraphLimits& limits, const std::string& rule,
                     Severity severity) {
  const std::vector<Violation> violations = ValidateGraph(graph, limits);
  const Violation* violation = Of(violations, rule);
  ASSERT_NE(violation, nullptr);
  EXPECT_EQ(violation->severity, severity);
  EXPECT_FALSE(violation->found.empty());
  EXPECT_NE(violation->why.find("ane-facts"), std::string::npos);
  EXPECT_FALSE(violation->remedy.empty());
  EXPECT_EQ(RefusalOf(violations).code(),
            severity == Severity::kError ? StatusCode::kUnsupported : StatusCode::kOk);
}

// Expert weights are made on demand only, so large ones cost nothing here.
Graph LargeExperts(GraphForm form, testing::ExpertSizes sizes, int count) {
  return ExpertGraph(form, sizes, std::vector<int64_t>(static_cast<size_t>(count), 32));
}

// 6.3 million parameters in form C, every axis aligned.
Graph Comfortable() { return LargeExperts(GraphForm::kDenseChains, {1024, 512}, 4); }

TEST(Validator, HasNothingToSayAboutAComfortableProgram) {
  const std::vector<Violation> violations = ValidateGraph(Comfortable(), {});
  EXPECT_TRUE(violations.empty()) << violations.front().rule << ": " << violations.front().found;
}

TEST(Validator, RefusesALongAxis) {
  const Graph graph = LargeExperts(GraphForm::kGroupedConv, {2048, 768}, 16);
  ExpectViolation(graph, {}, "axis-too-long", Severity::kError);
}

TEST(Validator, TakesAnAxisAtTheLimit) {
  GraphLimits limits;
  limits.max_axis = 1024;
  EXPECT_EQ(Of(ValidateGraph(Comfortable(), limits), "axis-too-long"), nullptr);
  limits.max_axis = 1023;
  EXPECT_NE(Of(ValidateGraph(Comfortable(), limits), "axis-too-long"), nullptr);
}

TEST(Validator, RefusesAHighRank) {
  GraphLimits limits;
  limits.max_rank = 3;
  ExpectViolation(Comfortable(), limits, "rank-too-high", Severity::kError);
}

TEST(Validator, RefusesALargeProgram) {
  GraphLimits limits;
  limits.max_program_bytes = Comfortable().WeightBytes() - 1;
  ExpectViolation(Comfortable(), limits, "program-too-large", Severity::kError);
}

TEST(Validator, RefusesALargeWeightFileCountingItsHeaders) {
  GraphLimits limits;
  limits.max_weight_file_bytes = Comfortable().WeightBytes() + 64 * 12;  // and one for the file
  ExpectViolation(Comfortable(), limits, "weight-file-too-large", Severity::kError);
  limits.max_weight_file_bytes += 64;
  EXPECT_EQ(Of(ValidateGraph(Comfortable(), limits), "weight-file-too-large"), nullptr);
}

TEST(Validator, RefusesAnOperationOfTheProfilesList) {
  GraphLimits limits;
  limits.refused_ops = {"gather", "silu"};
  ExpectViolation(Comfortable(), limits, "refused-operation", Severity::kError);
}

TEST(Validator, RefusesWideActivations) {
  GraphBuilder builder("main");
  builder.Output(builder.Silu("y", builder.Input("x", DType::kF32, Shape{1, 32})));
  ExpectViolation(*std::move(builder).Finish(), {}, "activation-type", Severity::kError);
}

TEST(Validator, RefusesGroupsThatDoNotDivide) {
  Graph graph = ExpertGraph(GraphForm::kGroupedConv, {8, 4}, {32, 32});
  graph.constants.at("int_2").value = std::vector<int32_t>{3};
  ExpectViolation(graph, {}, "groups-not-dividing", Severity::kError);
}

TEST(Validator, RefusesAWideKernel) {
  GraphBuilder builder("main");
  const Value x = builder.Input("x", DType::kF16, Shape{1, 4, 1, 48});
  const Value w =
      builder.Weight("w", DType::kF16, Shape{4, 4, 1, 17}, testing::RandomHalves(1, 1.0f));
  builder.Output(builder.Conv("y", x, w, {}));
  ExpectViolation(*std::move(builder).Finish(), {}, "kernel-too-wide", Severity::kError);
}

TEST(Validator, WarnsOfAnUnalignedLastAxis) {
  ExpectViolation(ExpertGraph(GraphForm::kDenseChains, {8, 4}, {33}), {}, "last-axis-unaligned",
                  Severity::kWarning);
}

TEST(Validator, WarnsOfALastAxisOfOne) {
  ExpectViolation(ExpertGraph(GraphForm::kDenseChains, {8, 4}, {1}), {}, "last-axis-single",
                  Severity::kWarning);
}

TEST(Validator, WarnsOfALargeWeight) {
  // 4096 x 2048 halves are 16 MiB, one row more is above
  ExpectViolation(LargeExperts(GraphForm::kDenseChains, {4096, 2049}, 1), {}, "weight-split",
                  Severity::kWarning);
  const auto at_limit = ValidateGraph(LargeExperts(GraphForm::kDenseChains, {4096, 2048}, 1), {});
  EXPECT_EQ(Of(at_limit, "weight-split"), nullptr);
}

TEST(Validator, WarnsOfASlowCompile) {
  ExpectViolation(LargeExperts(GraphForm::kDenseChains, {2048, 768}, 28), {}, "slow-compile",
                  Severity::kWarning);
}

TEST(Validator, WarnsOfASmallProgram) {
  ExpectViolation(ExpertGraph(GraphForm::kDenseChains, {8, 4}, {32}), {}, "program-small",
                  Severity::kWarning);
}

TEST(Validator, WarnsOfLongSums) {
  ExpectViolation(LargeExperts(GraphForm::kDenseChains, {64, 6400}, 1), {}, "inner-length",
                  Severity::kWarning);
}

TEST(Validator, WarnsOfGroupsThatAreDecomposed) {
  ExpectViolation(LargeExperts(GraphForm::kGroupedConv, {2880, 64}, 2), {}, "groups-decomposed",
                  Severity::kWarning);
}

TEST(Validator, WarnsOfAMatrixProductThatCouldBeAConvolution) {
  ExpectViolation(ExpertGraph(GraphForm::kBatchedMatmul, {32, 32}, {32}), {}, "product-not-conv",
                  Severity::kWarning);
}

TEST(Validator, WarnsOfManyBranchesThatJoin) {
  GraphBuilder builder("main");
  const Value x = builder.Input("x", DType::kF16, Shape{1, 32});
  builder.Output(builder.Concat("y", std::vector<Value>(12, x), 0));
  ExpectViolation(*std::move(builder).Finish(), {}, "many-branches", Severity::kWarning);
}

TEST(Validator, WarnsOfAnInfiniteMask) {
  GraphBuilder builder("main");
  const Value x = builder.Input("x", DType::kF16, Shape{1, 32});
  const float infinity = std::numeric_limits<float>::infinity();
  builder.Output(builder.Add("y", x, builder.Floats("mask", DType::kF16, Shape{1}, {-infinity})));
  ExpectViolation(*std::move(builder).Finish(), {}, "constant-not-finite", Severity::kWarning);
}

TEST(Validator, CountsWhatItDoesNotList) {
  const Graph graph = LargeExperts(GraphForm::kDenseChains, {8, 4}, 40);
  GraphLimits limits;
  limits.refused_ops = {"conv"};
  const std::vector<Violation> violations = ValidateGraph(graph, limits);
  const Violation* violation = Of(violations, "refused-operation");
  ASSERT_NE(violation, nullptr);
  EXPECT_NE(violation->found.find("and 117 more"), std::string::npos) << violation->found;
}

TEST(Validator, RefusalNamesRuleFindingReasonAndRemedy) {
  GraphLimits limits;
  limits.refused_ops = {"silu"};
  const std::string message = RefusalOf(ValidateGraph(Comfortable(), limits)).message();
  EXPECT_NE(message.find("refused-operation: operation 'gate_silu_3' (silu)"), std::string::npos);
  EXPECT_NE(message.find("compute it on the CPU"), std::string::npos);
}

}  // namespace
}  // namespace npumoe
