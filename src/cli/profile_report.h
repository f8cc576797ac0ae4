// What `npumoe profile` prints: every measured shape beside what the fitted figures say, and the
// figures themselves.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/measured_profile.h"

namespace npumoe::cli {

std::string ProfileText(const MeasuredNpu& npu, const std::optional<MeasuredCpu>& cpu,
                        const ChipProfile& profile);
std::string ProfileJson(const MeasuredNpu& npu, const std::optional<MeasuredCpu>& cpu,
                        const ChipProfile& profile);

}  // namespace npumoe::cli
