// What the kernel benchmarks share: seeded operands, and results as shares of what the same run
// measures as the machine's peak, before and after the timed loop, so that they compare between
// machines and survive a noisy one.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/dtype.h"
#include "base/tensor_view.h"
#include "base/thread_pool.h"
#include "kernels/matrix.h"
#include "kernels/peak/peak.h"
#include "kernels/testing/random_blocks.h"

namespace npumoe::bench {

// A cheap sequence in [-0.5, 0.5): contents do not matter, but no denormals and no zeros.
class Noise {
 public:
  float Next() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return (static_cast<float>(state_ >> 40) + 0.5f) * 0x1p-24f - 0.5f;
  }

 private:
  uint64_t state_ = 1;
};

struct Floats {
  Floats(int64_t rows, int64_t columns) : buffer(static_cast<size_t>(rows * columns)) {
    Noise noise;
    for (float& v : buffer.span()) v = noise.Next();
    matrix = {buffer.data(), rows, columns, columns};
  }
  AlignedBuffer<float> buffer;
  Matrix matrix;
};

struct Weights {
  Weights(DType dtype, int64_t rows, int64_t columns) : buffer(BytesOf(dtype, rows * columns)) {
    view = {dtype, {rows, columns}, buffer.data()};
    if (IsQuantized(dtype)) {
      testing::FillWithRandomBlocks(dtype, 1, 0.05, buffer.span());
      return;
    }
    Noise noise;
    for (int64_t i = 0; i < rows * columns; ++i) {
      const float value = noise.Next() * 0.05f;
      if (dtype == DType::kF32) {
        reinterpret_cast<float*>(buffer.data())[i] = value;
      } else {
        reinterpret_cast<uint16_t*>(buffer.data())[i] =
            dtype == DType::kF16 ? F16FromF32(value) : BF16FromF32(value);
      }
    }
  }
  AlignedBuffer<std::byte> buffer;
  TensorView view;
};

// Reports GFLOP/s and the share of the peak of all threads of the pool.
class FlopShare {
 public:
  FlopShare(benchmark::State& state, ThreadPool& pool)
      : state_(state), pool_(pool), peak_(MeasureFmaPeak(pool)) {}
  void Report(double operations_per_iteration) {
    const double peak = (peak_ + MeasureFmaPeak(pool_)) / 2;
    using benchmark::Counter;
    state_.counters["GFLOP/s"] =
        Counter(operations_per_iteration / 1e9, Counter::kIsIterationInvariantRate);
    state_.counters["share_of_peak"] =
        Counter(operations_per_iteration / 1e9 / peak, Counter::kIsIterationInvariantRate);
  }

 private:
  benchmark::State& state_;
  ThreadPool& pool_;
  double peak_;
};

// Reports GB/s and the share of the read bandwidth of all threads of the pool.
class ByteShare {
 public:
  ByteShare(benchmark::State& state, ThreadPool& pool)
      : state_(state), pool_(pool), peak_(MeasureReadBandwidth(pool)) {}
  void Report(double bytes_per_iteration) {
    const double peak = (peak_ + MeasureReadBandwidth(pool_)) / 2;
    using benchmark::Counter;
    state_.counters["GB/s"] =
        Counter(bytes_per_iteration / 1e9, Counter::kIsIterationInvariantRate);
    state_.counters["share_of_bandwidth"] =
        Counter(bytes_per_iteration / 1e9 / peak, Counter::kIsIterationInvariantRate);
  }

 private:
  benchmark::State& state_;
  ThreadPool& pool_;
  double peak_;
};

}  // namespace npumoe::bench
