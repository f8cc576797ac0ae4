#include <gtest/gtest.h>

#include <sstream>

#include "plan/planner.h"
#include "plan/planning_test_data.h"

namespace npumoe {
namespace {

class ExplainPlanText : public testing::Test {
 protected:
  ExplainPlanText() {
    inputs_ =
        testdata::MakeInputs(testdata::Demo(), testdata::Chip("m2-max"), {4096, 0.7, 2048, 3});
    options_.prompt_tokens = 1024;
    options_.chunk_candidates = {256, 512};
    options_.min_npu_share = 0.9;
    plan_ = *MakePlan(inputs_, options_);
    text_ = ExplainPlan(plan_, inputs_, options_);
  }
  bool Has(const std::string& part) const { return text_.find(part) != std::string::npos; }

  PlanInputs inputs_;
  PlanOptions options_;
  Plan plan_;
  std::string text_;
};

TEST_F(ExplainPlanText, ComparesEveryStrategyAndEveryChunkLength) {
  for (const Strategy strategy : AllStrategies()) EXPECT_TRUE(Has(Name(strategy)));
  EXPECT_TRUE(Has("  256")) << text_;
  EXPECT_TRUE(Has("512")) << text_;
}

TEST_F(ExplainPlanText, SaysWhatBindsAndWhereTheNpuBeginsToPay) {
  EXPECT_TRUE(Has("Bound by the")) << text_;
  EXPECT_TRUE(Has("Break-even")) << text_;
  EXPECT_TRUE(Has("modelled"));
}

TEST_F(ExplainPlanText, DrawsOneLinePerMoeLayerWithinTheWidthOfATerminal) {
  std::istringstream lines(text_);
  std::string line;
  int bars = 0;
  while (std::getline(lines, line)) {
    if (line.find("] ") != std::string::npos && line.find('[') != std::string::npos) ++bars;
    if (line.find("Note:") != 0 && line.find("Objective") != 0) {
      EXPECT_LE(line.size(), 110u) << line;
    }
  }
  EXPECT_EQ(bars, 4);
}

TEST_F(ExplainPlanText, RepeatsTheNotesOfThePlan) {
  plan_.notes = {"a limit was met"};
  EXPECT_NE(ExplainPlan(plan_, inputs_, options_).find("Note: a limit was met"), std::string::npos);
}

}  // namespace
}  // namespace npumoe
