// Dense programs: whether attention and the vocabulary head run on the NPU, with which history
// lengths and row counts. Decided after the experts, which keep the program places they have.
#pragma once

#include "base/status.h"
#include "plan/plan.h"
#include "plan/planning_problem.h"

namespace npumoe {

// History lengths for prompts of `prompt_tokens` in chunks of `chunk_tokens`: 0, one chunk, and
// doublings up to what the last chunk needs, rounded up to 32 tokens; none beyond the chip's axes.
std::vector<int64_t> HistoryLengths(const ModelConfig& config, const NpuLimits& limits,
                                    int64_t chunk_tokens, int64_t prompt_tokens);

// Adds what options.attention and options.head ask for; with kAuto what lowers the objective.
// Predicts the plan again where it changed. kUnsupported where kAlways asks for what the model or
// the chip cannot.
Status AddDensePrograms(const PlanningProblem& problem, Plan& plan);

}  // namespace npumoe
