// Sampling of the next token. Order of the filters as in llama.cpp: top-k, top-p, min-p, then
// temperature; temperature 0 (or top-k 1) takes the largest logit, the smallest id on ties.
//
// A logit that is NaN is never chosen before one that is a number. Where the largest is infinite,
// there are no probabilities to draw by, and the largest is taken.
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

// The smallest id of the largest logit; 0 when all are NaN.
int32_t ArgMax(std::span<const float> logits);

class Sampler {
 public:
  // The temperature must be finite: whoever takes it from outside checks it there.
  Sampler(const SamplingOptions& options, uint64_t seed);
  // The same seed and logits give the same tokens on every machine.
  int32_t Sample(std::span<const float> logits);

 private:
  SamplingOptions options_;
  std::mt19937_64 random_;
};

}  // namespace npumoe
