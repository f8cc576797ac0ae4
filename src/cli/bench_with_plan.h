// `npumoe bench --plan`: whole prefills with a plan, measured, beside what the plan's chip profile
// predicts for the very same routing, stage by stage.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "cli/engine.h"

namespace npumoe::cli {

struct PlanBenchOptions {
  EngineOptions engine;  // with a plan
  int64_t prompt_tokens = 512;
  int repetitions = 5;
  bool json = false;
};

Status RunPlanBench(const PlanBenchOptions& options);

}  // namespace npumoe::cli
