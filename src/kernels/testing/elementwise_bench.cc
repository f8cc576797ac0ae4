// The kernels that touch every element once, on a chunk of 512 tokens of Qwen3-30B-A3B; sampling
// on its vocabulary.
#include "kernels/activation/activation.h"
#include "kernels/convert/convert.h"
#include "kernels/norm/layer_norm.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "kernels/sample/sample.h"
#include "kernels/testing/kernel_bench.h"

namespace npumoe {
namespace {

constexpr int64_t kTokens = 512, kHidden = 2048, kQueryWidth = 4096;

void Norm(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  const bench::Floats in(kTokens, kHidden);
  bench::Floats out(kTokens, kHidden);
  const bench::Weights weight(DType::kBF16, 1, kHidden);
  for (auto _ : state) RmsNorm(in.matrix, weight.view, 1e-6f, out.matrix, pool);
}
BENCHMARK(Norm)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

void NormWithMean(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  const bench::Floats in(kTokens, kHidden);
  bench::Floats out(kTokens, kHidden);
  const bench::Weights weight(DType::kBF16, 1, kHidden);
  for (auto _ : state) LayerNorm(in.matrix, weight.view, weight.view, 1e-5f, out.matrix, pool);
}
BENCHMARK(NormWithMean)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

void Rotary(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  bench::Floats heads(kTokens, kQueryWidth);
  const auto frequencies = RopeInverseFrequencies(128, 1e6);
  for (auto _ : state) Rope(heads.matrix, 128, frequencies, 0, pool);
}
BENCHMARK(Rotary)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

// The last 64 of every 192 elements, pairs side by side, as DeepSeek-V2 does.
void RotaryInterleaved(benchmark::State& state) {
  ThreadPool pool(static_cast<int>(state.range(0)));
  bench::Floats heads(kTokens, 16 * 192);
  const auto frequencies = RopeInverseFrequencies(64, 1e4);
  for (auto _ : state) Rope({heads.matrix, 192, 128, 64, frequencies, 1, true, 0}, pool);
}
BENCHMARK(RotaryInterleaved)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

void Activate(benchmark::State& state) {
  const bench::Floats up(kTokens, 768);
  bench::Floats gate(kTokens, 768);
  for (auto _ : state) SwiGlu(up.buffer.span(), gate.buffer.span());
}
BENCHMARK(Activate)->Unit(benchmark::kMicrosecond);

void ActivateClamped(benchmark::State& state) {
  const bench::Floats up(kTokens, 768);
  bench::Floats gate(kTokens, 768);
  for (auto _ : state) ClampedSwiGlu(up.buffer.span(), 7.0f, gate.buffer.span());
}
BENCHMARK(ActivateClamped)->Unit(benchmark::kMicrosecond);

void Narrow(benchmark::State& state) {
  const bench::Floats in(kTokens, kHidden);
  std::vector<uint16_t> out(in.buffer.size());
  for (auto _ : state) F32ToF16(in.buffer.span(), out.data());
}
BENCHMARK(Narrow)->Unit(benchmark::kMicrosecond);

void SampleToken(benchmark::State& state) {
  const bench::Floats logits(1, 151'936);
  Sampler sampler({}, 1);
  for (auto _ : state) benchmark::DoNotOptimize(sampler.Sample(logits.buffer.span()));
}
BENCHMARK(SampleToken)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace npumoe
