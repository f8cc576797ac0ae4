// What `npumoe convert` says of what it did.
#pragma once

#include <string>

#include "convert/report.h"

namespace npumoe::cli {

// What was written: one line for standard output.
std::string ConvertText(const ConvertReport& report);
// What fell back, what was rounded and what was left out, a line each, for standard error.
std::string ConvertRemarks(const ConvertReport& report);
std::string ConvertJson(const ConvertReport& report);

}  // namespace npumoe::cli
