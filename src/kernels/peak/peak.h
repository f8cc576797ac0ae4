// What this machine can do at most, measured: the yardsticks for the shares that benchmarks print.
// Both run for about 100 ms and report the best of several repetitions.
#pragma once

#include "base/thread_pool.h"

namespace npumoe {

// Fused multiply-adds on registers alone, fp32, all threads: GFLOP/s (two per element).
double MeasureFmaPeak(ThreadPool& pool);
// Reading memory far larger than the caches, all threads: GB/s (10^9 bytes).
double MeasureReadBandwidth(ThreadPool& pool);

}  // namespace npumoe
