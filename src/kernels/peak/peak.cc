#include "kernels/peak/peak.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>

#include "base/aligned_buffer.h"
#include "base/clock.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/peak/peak.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace npumoe {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// Independent chains: latency 4 cycles times two units, with room; fits 16 registers.
constexpr int kChains = 12;

// `rounds` rounds of kChains multiply-adds; returns the number of floating-point operations.
double MultiplyAdd(int64_t rounds, float* sink) {
  const D d;
  const V scale = hn::Set(d, 0.999f);
  const V step = hn::Set(d, 0.001f);
  V chains[kChains];
  HWY_UNROLL(16)
  for (int i = 0; i < kChains; ++i) chains[i] = hn::Set(d, static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
    HWY_UNROLL(16)
    for (int i = 0; i < kChains; ++i) chains[i] = hn::MulAdd(chains[i], scale, step);
  }
  V sum = chains[0];
  HWY_UNROLL(16)
  for (int i = 1; i < kChains; ++i) sum = hn::Add(sum, chains[i]);
  *sink = hn::GetLane(sum);
  return 2.0 * kChains * static_cast<double>(hn::Lanes(d)) * static_cast<double>(rounds);
}

// Sum of [begin, begin + count) from four places at once, so that page borders of one stream do
// not stop the others. count is a multiple of 4 * 64 floats.
float ReadAll(const float* begin, int64_t count) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t quarter = count / 4;
  V sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (int64_t i = 0; i < quarter; i += lanes) {
    HWY_UNROLL(4)
    for (int s = 0; s < 4; ++s) {
      sums[s] = hn::Add(sums[s], hn::LoadU(d, begin + s * quarter + i));
    }
  }
  return hn::GetLane(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
}

// NOLINTNEXTLINE(google-readability-namespace-comments)
}  // namespace HWY_NAMESPACE
}  // namespace npumoe
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace npumoe {
namespace {

HWY_EXPORT(MultiplyAdd);
HWY_EXPORT(ReadAll);

// Short repetitions, many of them: one that nobody disturbs is enough.
constexpr int kFmaRepetitions = 40;
constexpr int kReadRepetitions = 9;

// Keeps results alive.
void Consume(float value) {
  static std::atomic<float> sink;
  sink.store(value, std::memory_order_relaxed);
}

// Work per millisecond of the fastest repetition of one parallel region.
double BestRate(int repetitions, double work, const std::function<void()>& region) {
  double best_ms = 1e30;
  for (int i = 0; i < repetitions; ++i) {
    Stopwatch watch;
    region();
    best_ms = std::min(best_ms, watch.ElapsedMs());
  }
  return work / best_ms;
}

}  // namespace

double MeasureFmaPeak(ThreadPool& pool) {
  constexpr int64_t kRounds = 100'000;  // chosen: a fraction of a millisecond per task
  const int64_t tasks = int64_t{8} * pool.threads();
  float unused = 0;
  const double operations = HWY_DYNAMIC_DISPATCH(MultiplyAdd)(1, &unused) * kRounds;
  return BestRate(kFmaRepetitions, operations * static_cast<double>(tasks),
                  [&] {
                    pool.ParallelFor(tasks, [](int64_t, int) {
                      float sum = 0;
                      HWY_DYNAMIC_DISPATCH(MultiplyAdd)(kRounds, &sum);
                      Consume(sum);
                    });
                  }) /
         1e6;
}

double MeasureReadBandwidth(ThreadPool& pool) {
  constexpr int64_t kBytes = int64_t{256} << 20;  // chosen: beyond any last-level cache we meet
  constexpr int64_t kTaskBytes = int64_t{1} << 20;
  constexpr int64_t kTaskFloats = kTaskBytes / 4;
  AlignedBuffer<float> memory(kBytes / 4);
  std::fill_n(memory.data(), memory.size(), 1.0f);
  return BestRate(kReadRepetitions, static_cast<double>(kBytes),
                  [&] {
                    pool.ParallelFor(kBytes / kTaskBytes, [&](int64_t i, int) {
                      Consume(HWY_DYNAMIC_DISPATCH(ReadAll)(memory.data() + i * kTaskFloats,
                                                            kTaskFloats));
                    });
                  }) /
         1e6;
}

}  // namespace npumoe
#endif
