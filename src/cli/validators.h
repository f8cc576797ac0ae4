// Checks of option values whose messages a person can read, and which NaN does not pass.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdint>
#include <string>

namespace npumoe::cli {

// A finite number in [min, max].
inline CLI::Validator Between(double min, double max) {
  return {[min, max](std::string& text) -> std::string {
            double value = 0;
            const bool is_number = CLI::detail::lexical_cast(text, value);
            if (is_number && std::isfinite(value) && value >= min && value <= max) return {};
            return fmt::format("'{}' is not a number from {} to {}", text, min, max);
          },
          "NUMBER"};
}

// A multiple of 32 tokens: calibrations count in blocks of 32.
inline CLI::Validator ChunkLength() {
  return {[](std::string& text) -> std::string {
            int64_t value = 0;
            constexpr int64_t kMaxChunkTokens = 16384;  // the longest axis of any chip profile
            const bool is_number = CLI::detail::lexical_cast(text, value);
            if (is_number && value >= 32 && value <= kMaxChunkTokens && value % 32 == 0) return {};
            return fmt::format("'{}' is not a multiple of 32 from 32 to {}", text, kMaxChunkTokens);
          },
          "TOKENS"};
}

}  // namespace npumoe::cli
