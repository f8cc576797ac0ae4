// What a run says about itself: times (measured, modelled), dispatch counts, placement.
#pragma once

#include <cstdint>
#include <string>

#include "cli/engine.h"
#include "cli/generate.h"

namespace npumoe::cli {

std::string RunReportText(const Engine& engine, const Generation& generation);
std::string RunReportJson(const Engine& engine, const Generation& generation, uint64_t seed);

}  // namespace npumoe::cli
