// What `npumoe convert` did.
#pragma once

#include <string>

#include "convert/convert.h"

namespace npumoe::cli {

std::string ConvertText(const ConvertReport& report);
std::string ConvertJson(const ConvertReport& report);

}  // namespace npumoe::cli
