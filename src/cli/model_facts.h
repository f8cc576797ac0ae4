// What `npumoe show` says of a model: shape, parameters, quantisation by class of weights, memory,
// tokenizer.
#pragma once

#include <filesystem>
#include <string>

#include "base/status.h"

namespace npumoe::cli {

Result<std::string> ModelFactsText(const std::filesystem::path& path);
Result<std::string> ModelFactsJson(const std::filesystem::path& path);

}  // namespace npumoe::cli
