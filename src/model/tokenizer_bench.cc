// Speed of the tokenizer on one core: English prose, and the worst piece for BPE.
//
//   model_bench --benchmark_filter=Tokenizer
#include <benchmark/benchmark.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "model/tokenizer.h"

namespace npumoe {
namespace {

const std::filesystem::path kDemo = "models/demo";  // run from the root of the checkout

std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream contents;
  contents << file.rdbuf();
  return contents.str();
}

void EncodeText(benchmark::State& state, const std::string& text) {
  const auto tokenizer = Tokenizer::Load(kDemo);
  if (!tokenizer.ok() || text.empty()) {
    state.SkipWithError("run from the root of the checkout: models/demo is needed");
    return;
  }
  for (auto _ : state) {
    auto ids = (*tokenizer)->Encode(text, SpecialTokens::kParse);
    benchmark::DoNotOptimize(ids);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

void BM_TokenizerEncodeProse(benchmark::State& state) {
  EncodeText(state, ReadAll(kDemo / "held_out_text.txt"));
}
BENCHMARK(BM_TokenizerEncodeProse)->Unit(benchmark::kMillisecond);

void BM_TokenizerEncodeOneLetter(benchmark::State& state) {
  EncodeText(state, std::string(1 << 20, 'a'));
}
BENCHMARK(BM_TokenizerEncodeOneLetter)->Unit(benchmark::kMillisecond);

void BM_TokenizerLoad(benchmark::State& state) {
  for (auto _ : state) {
    auto tokenizer = Tokenizer::Load(kDemo);
    if (!tokenizer.ok()) state.SkipWithError("run from the root of the checkout");
    benchmark::DoNotOptimize(tokenizer);
  }
}
BENCHMARK(BM_TokenizerLoad)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace npumoe
