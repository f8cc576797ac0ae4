// Prompts of benchmarks, where no text is at hand.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace npumoe::cli {

// Uniformly random ids.
inline std::vector<int32_t> RandomPrompt(int64_t tokens, int vocab_size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> ids(static_cast<size_t>(tokens));
  for (int32_t& id : ids) {
    id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab_size));
  }
  return ids;
}

}  // namespace npumoe::cli
