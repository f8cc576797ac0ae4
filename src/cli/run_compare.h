// `npumoe run --compare-cpu`: the same prompt on the CPU alone and with the plan, closed with one
// table: times, energy, launches, padding, spill, loss, KL, whether the answers are equal. Every
// figure says whether it was measured or modelled.
#pragma once

#include <cstdint>
#include <span>

#include "base/status.h"
#include "cli/engine.h"
#include "cli/generate.h"

namespace npumoe::cli {

struct CompareOptions {
  int64_t context_tokens = 0;
  bool json = false;
};

// Prints the planned run's answer, then the table. Needs an engine with a plan.
Status CompareWithCpu(Engine& engine, std::span<const int32_t> prompt,
                      const GenerateOptions& generate, const CompareOptions& options);

}  // namespace npumoe::cli
