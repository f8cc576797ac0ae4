#include "plan/planning_problem.h"

#include <gtest/gtest.h>

#include <functional>

#include "plan/planning_test_data.h"

namespace npumoe {
namespace {

// The message of the refusal after `change`.
std::string Refusal(const std::function<void(Calibration&)>& change) {
  PlanInputs inputs = testdata::MakeInputs(testdata::Demo(), testdata::Chip("m2-max"), {512});
  change(inputs.calibration);
  const Status status = CheckCalibrationFits(inputs.calibration, inputs.config, inputs.model_hash);
  return status.ok() ? "fits" : status.message();
}

TEST(CheckCalibrationFits, TakesTheCalibrationOfTheModel) {
  EXPECT_EQ(Refusal([](Calibration&) {}), "fits");
}

TEST(CheckCalibrationFits, NamesBothModelsAndWhatToDo) {
  EXPECT_EQ(Refusal([](Calibration& c) { c.model_hash = "other"; }),
            "calibration of model other; this model is model; calibrate this model");
}

TEST(CheckCalibrationFits, NamesBothShapes) {
  EXPECT_EQ(Refusal([](Calibration& c) { c.num_experts = 16; }),
            "calibration of 16 experts, 4 per token; the model has 32 experts, 4 per token; "
            "calibrate this model");
}

TEST(CheckCalibrationFits, RefusesOtherMoeLayers) {
  EXPECT_EQ(Refusal([](Calibration& c) { c.layers.pop_back(); }),
            "calibration of 3 MoE layers; the model has 4, or others; calibrate this model");
}

}  // namespace
}  // namespace npumoe
