// A plan file. What parses says the same when it is written and parsed again, and can be checked
// against a model and a chip that it was not made for.
#include "fuzz/fuzz.h"
#include "plan/plan.h"

namespace npumoe {
namespace {

void Read(std::string_view input) {
  const Result<Plan> plan = ParsePlan(input, "input.plan.json");
  if (!plan.ok()) {
    fuzz::Require(plan.status().message().find("input.plan.json") == 0, "an error names the file");
    return;
  }
  const std::string text = SerializePlan(*plan);
  const Result<Plan> again = ParsePlan(text, "written.plan.json");
  fuzz::Require(again.ok(), "what was written can be read: " + again.status().message());
  fuzz::Require(SerializePlan(*again) == text, "a plan is written the same way twice");
  fuzz::Require(again->Hash() == plan->Hash(), "the hash survives writing");

  const Status fits = CheckPlanFits(*plan, ModelConfig(), "another hash", ChipProfile());
  fuzz::Require(!fits.ok() || plan->model_hash == "another hash",
                "a plan of another model is refused");
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
