// What `npumoe convert` did.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/convert_types.h"

namespace npumoe::cli {

struct ConvertReport {
  std::string path;
  uint64_t bytes = 0;
  size_t tensors = 0;
  std::vector<TypeFallback> fallbacks;
  std::vector<std::string> notes;
};

std::string ConvertText(const ConvertReport& report);
std::string ConvertJson(const ConvertReport& report);

}  // namespace npumoe::cli
