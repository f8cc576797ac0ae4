// Sampling of the next token. Order of the filters as in llama.cpp: top-k, top-p, min-p, then
// temperature; temperature 0 (or top-k 1) takes the largest logit, the smallest id on ties.
#pragma once

#include <cstdint>
#include <random>
#include <span>

namespace npumoe {

struct SamplingOptions {
  float temperature = 0.8f;
  int top_k = 40;       // 0: off
  float top_p = 0.95f;  // 1: off
  float min_p = 0.05f;  // 0: off
};

int32_t ArgMax(std::span<const float> logits);

class Sampler {
 public:
  Sampler(const SamplingOptions& options, uint64_t seed) : options_(options), random_(seed) {}
  // The same seed and logits give the same tokens on every machine.
  int32_t Sample(std::span<const float> logits);

 private:
  SamplingOptions options_;
  std::mt19937_64 random_;
};

}  // namespace npumoe
