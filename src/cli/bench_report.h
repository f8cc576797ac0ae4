// Samples of `npumoe bench` and how they are shown: median and range, absolute and as a share of
// what the same repetition measured of the machine.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"
#include "runtime/session.h"

namespace npumoe::cli {

struct BenchSetup {
  ModelConfig config;
  std::string weight_type;
  int threads = 0;
  int64_t prompt_tokens = 0;
  int64_t generate_tokens = 0;
  int64_t square = 0;
};

// One repetition, all measured.
struct BenchSample {
  double peak_gflops = 0;     // fused multiply-adds in registers, all threads
  double square_gflops = 0;   // one large square product
  double prefill_gflops = 0;  // products of all layers only; attention scores and head not counted
  double prefill_tokens_per_s = 0;
  double bandwidth_gb_per_s = 0;  // plain reads of memory, all threads
  double decode_gb_per_s = 0;     // weights that a token multiplies with, head included
  double decode_tokens_per_s = 0;
  double dispatch_share = 0;  // router, gather and combine of the MoE block's time
  StageTimes stages;
};

std::string BenchText(const BenchSetup& setup, const std::vector<BenchSample>& samples);
std::string BenchJson(const BenchSetup& setup, const std::vector<BenchSample>& samples);

}  // namespace npumoe::cli
