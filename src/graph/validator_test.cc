#include "graph/validator.h"

#include <gtest/gtest.h>

#include <set>

#include "graph/mlpackage.h"
#include "graph/testing/package_files.h"
#include "graph/testing/rule_pairs.h"
#include "graph/validator/rules.h"

namespace npumoe {
namespace {

using testing::ConvOf;
using testing::NoLimits;
using testing::Only;
using testing::RulePair;
using testing::RulePairs;
using testing::SiluOf;

// The violation of one rule, or null.
const Violation* Of(const std::vector<Violation>& violations, const std::string& rule) {
  for (const Violation& violation : violations) {
    if (violation.rule == rule) return &violation;
  }
  return nullptr;
}

TEST(ValidatorRules, HaveAPairOfGraphsEach) {
  std::set<std::string> paired, in_table;
  for (const RulePair& pair : RulePairs()) paired.insert(pair.rule);
  for (const Rule& rule : ValidatorRules()) {
    if (rule.find != nullptr) in_table.insert(rule.id);
  }
  EXPECT_EQ(paired, in_table);
}

TEST(ValidatorRules, OfTheReaderRefuseShapesThatAreNotFixed) {
  std::vector<std::string> of_reader;
  for (const Rule& rule : ValidatorRules()) {
    if (rule.by == CheckedBy::kReader) of_reader.push_back(rule.id);
  }
  ASSERT_EQ(of_reader, std::vector<std::string>{"shape-not-static"});

  const testing::ScratchFolder folder;
  const Graph graph = ConvOf({{1, 4, 1, 32}, {4, 4, 1, 1}});
  const auto refusal_after = [&](const auto& edit) {
    NPUMOE_CHECK(WriteMlpackage(folder / "p.mlpackage", {&graph, 1}, {}).ok());
    testing::EditModel(folder / "p.mlpackage", edit);
    return ReadMlpackage(folder / "p.mlpackage").status();
  };
  EXPECT_TRUE(refusal_after([](coreml::Model&) {}).ok());
  const Status free_axis = refusal_after([](coreml::Model& model) {
    auto& function = (*model.mutable_program()->mutable_functions())["main"];
    auto& axes = *function.mutable_inputs(0)->mutable_type()->mutable_tensor()->mutable_axes();
    axes[3].mutable_free();
  });
  EXPECT_EQ(free_axis.code(), StatusCode::kUnsupported) << free_axis.message();
  const auto array_of = [](coreml::Model& model) {
    coreml::ModelDescription& description = *model.mutable_description();
    auto& inputs = description.functions_size() > 0
                       ? *description.mutable_functions(0)->mutable_inputs()
                       : *description.mutable_inputs();
    return inputs[0].mutable_type()->mutable_array();
  };
  const Status enumerated =
      refusal_after([&](coreml::Model& model) { array_of(model)->mutable_enumerated_shapes(); });
  EXPECT_EQ(enumerated.code(), StatusCode::kUnsupported) << enumerated.message();
  const Status ranged =
      refusal_after([&](coreml::Model& model) { array_of(model)->mutable_shape_range(); });
  EXPECT_EQ(ranged.code(), StatusCode::kUnsupported) << ranged.message();
}

TEST(ValidatorRules, AreBrokenByTheOneAndKeptByTheOther) {
  for (const RulePair& pair : RulePairs()) {
    const std::vector<Violation> broken = ValidateGraph(pair.broken, pair.limits);
    const Violation* violation = Of(broken, pair.rule);
    ASSERT_NE(violation, nullptr) << pair.rule;
    EXPECT_FALSE(violation->found.empty()) << pair.rule;
    EXPECT_NE(violation->why.find("(ane-facts "), std::string::npos) << pair.rule;
    if (violation->severity == Severity::kError) {
      EXPECT_EQ(RefusalOf(broken).code(), StatusCode::kUnsupported) << pair.rule;
    }
    const std::vector<Violation> kept = ValidateGraph(pair.kept, pair.limits);
    EXPECT_EQ(Of(kept, pair.rule), nullptr) << pair.rule << ": " << Of(kept, pair.rule)->found;
  }
}

// One that every chip without the limit lets pass, so the key in the table is what decides.
TEST(ValidatorRules, OfKeysDoNotHoldWithoutTheirLimit) {
  std::set<std::string> keyed;
  for (const Rule& rule : ValidatorRules()) {
    if (std::string_view(rule.keys).starts_with("limits.graph.")) keyed.insert(rule.id);
  }
  EXPECT_GT(keyed.size(), 20u);
  for (const RulePair& pair : RulePairs()) {
    const Violation* violation = Of(ValidateGraph(pair.broken, NoLimits()), pair.rule);
    EXPECT_EQ(violation == nullptr || !keyed.contains(pair.rule), true) << pair.rule;
  }
}

TEST(ValidatorRules, HaveUniqueIdsAndSayEverything) {
  std::set<std::string> ids;
  for (const Rule& rule : ValidatorRules()) {
    EXPECT_TRUE(ids.insert(rule.id).second) << rule.id;
    for (const char* text : {rule.demand, rule.why, rule.source, rule.remedy}) {
      EXPECT_FALSE(std::string_view(text).empty()) << rule.id;
    }
    EXPECT_EQ(rule.by == CheckedBy::kGraph, rule.find != nullptr) << rule.id;
  }
}

TEST(Validator, HasNothingToSayAboutASmallProgramWithoutLimits) {
  const auto violations = ValidateGraph(ConvOf({{1, 4, 1, 32}, {4, 4, 1, 1}}), {});
  EXPECT_TRUE(violations.empty()) << violations.front().rule << ": " << violations.front().found;
}

TEST(Validator, CountsWhatItDoesNotList) {
  const Graph graph =
      testing::ExpertGraph(GraphForm::kDenseChains, {8, 4}, std::vector<int64_t>(40, 32));
  const auto limits = Only(&GraphLimits::refused_ops, std::vector<std::string>{"conv"});
  const std::vector<Violation> violations = ValidateGraph(graph, limits);
  const Violation* violation = Of(violations, "refused-operation");
  ASSERT_NE(violation, nullptr);
  EXPECT_NE(violation->found.find("and 117 more"), std::string::npos) << violation->found;
}

TEST(Validator, RefusalNamesRuleFindingReasonAndRemedy) {
  const auto limits = Only(&GraphLimits::refused_ops, std::vector<std::string>{"silu"});
  const std::string message = RefusalOf(ValidateGraph(SiluOf({1, 32}), limits)).message();
  EXPECT_NE(message.find("refused-operation: operation 'y' (silu)"), std::string::npos) << message;
  EXPECT_NE(message.find("compute it on the CPU"), std::string::npos);
}

TEST(Validator, ChecksTheFileOfTheWholePackage) {
  const Graph graph = ConvOf({{1, 64, 1, 32}, {8, 64, 1, 1}});
  const auto limits = Only(&GraphLimits::max_weight_file_bytes, 4096);
  EXPECT_TRUE(ValidateGraph(graph, limits, {.functions = 2, .weight_file_bytes = 4096}).empty());
  const auto violations = ValidateGraph(graph, limits, {.functions = 2, .weight_file_bytes = 4097});
  EXPECT_NE(Of(violations, "weight-file-too-large"), nullptr);
}

TEST(Validator, NeedsASystemThatKnowsSeveralFunctions) {
  const Graph graph = ConvOf({{1, 64, 1, 32}, {8, 64, 1, 1}});
  const auto limits = Only(&GraphLimits::system_version, 14);
  EXPECT_NE(Of(ValidateGraph(graph, limits, {.functions = 2}), "system-too-old"), nullptr);
  EXPECT_EQ(Of(ValidateGraph(graph, limits, {.functions = 1}), "system-too-old"), nullptr);
}

TEST(Validator, TakesWeightsOfAConstexprOperationForWhatTheyAre) {
  const Graph graph = testing::WithTableWeight(ConvOf({{1, 64, 1, 32}, {8, 64, 1, 1}}), DType::kU4,
                                               {1, 1, 1, 1, 16, 1});
  GraphLimits limits = Only(&GraphLimits::last_axis_bytes, 64);  // [8, 64, 1, 1] is no activation
  limits.max_rank = 4;  // [1, 1, 1, 1, 16, 1] is no tensor of an operation
  const auto violations = ValidateGraph(graph, limits);
  EXPECT_TRUE(violations.empty()) << violations.front().rule << ": " << violations.front().found;
}

}  // namespace
}  // namespace npumoe
