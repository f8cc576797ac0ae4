// Speed of every kind of tokenizer on one core: English prose, and the worst piece for BPE at two
// lengths, which shows that the time grows with the length and not with its square.
//
//   model_bench --benchmark_filter=Tokenizer
//
// Run from the root of the checkout. Vocabularies other than the demo's lie outside of it; rows
// whose file is absent are skipped.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "model/gguf/gguf_file.h"
#include "model/gguf/gguf_tokenizer.h"
#include "model/tokenizer.h"

namespace npumoe {
namespace {

const std::filesystem::path kDemo = "models/demo";
const std::filesystem::path kShared = "../shared/data/tokenizers";

struct Vocabulary {
  const char* name;
  std::filesystem::path path;
};

const Vocabulary kVocabularies[] = {
    {"demo", kDemo / "tokenizer.json"},
    {"qwen3", kShared / "Qwen3.tokenizer.json"},
    {"gpt-oss", kShared / "gpt-oss.tokenizer.json.xz"},
    {"olmo", kShared / "allenai_gpt-neox-olmo-dolma-v1_5.tokenizer.json"},
    {"phi-3", kShared / "Phi-3.derived.tokenizer.json"},
    {"phi-3-gguf", kShared / "ggml-vocab-phi-3.gguf"},
    {"gpt-2-gguf", kShared / "ggml-vocab-gpt-2.gguf"},
    {"deepseek-gguf", kShared / "ggml-vocab-deepseek-llm.gguf"},
};

std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream contents;
  contents << file.rdbuf();
  return contents.str();
}

std::string ReadXz(const std::filesystem::path& path) {
  const std::string command = "xz -dc '" + path.string() + "'";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  std::array<char, 1 << 16> buffer;
  for (size_t count; (count = std::fread(buffer.data(), 1, buffer.size(), pipe.get())) > 0;) {
    text.append(buffer.data(), count);
  }
  return text;
}

Result<std::shared_ptr<const Tokenizer>> Load(const std::filesystem::path& path) {
  if (path.extension() == ".xz") return Tokenizer::FromJson(ReadXz(path), path.string());
  if (path.extension() != ".gguf") return Tokenizer::Load(path);
  NPUMOE_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  NPUMOE_ASSIGN_OR_RETURN(const auto vocabulary, ReadGgufVocabulary(file.metadata()));
  if (!vocabulary) return NotFound(path.string() + ": has no tokenizer");
  return Tokenizer::FromGguf(*vocabulary, path.string());
}

void EncodeText(benchmark::State& state, const Vocabulary& vocabulary, const std::string& text) {
  if (text.empty() || !std::filesystem::exists(vocabulary.path)) {
    state.SkipWithError((vocabulary.path.string() + " is absent").c_str());
    return;
  }
  const auto tokenizer = Load(vocabulary.path);
  if (!tokenizer.ok()) {
    state.SkipWithError(std::string(tokenizer.status().message()).c_str());
    return;
  }
  for (auto _ : state) {
    auto ids = (*tokenizer)->Encode(text, SpecialTokens::kParse);
    benchmark::DoNotOptimize(ids);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

void RegisterRows() {
  const std::string prose = ReadAll(kDemo / "held_out_text.txt");
  for (const Vocabulary& vocabulary : kVocabularies) {
    const std::string name = vocabulary.name;
    const auto add = [&](const std::string& row, std::string text) {
      benchmark::RegisterBenchmark(("BM_Tokenizer" + row + "/" + name).c_str(),
                                   [&vocabulary, text = std::move(text)](benchmark::State& state) {
                                     EncodeText(state, vocabulary, text);
                                   })
          ->Unit(benchmark::kMillisecond);
    };
    add("Prose", prose);
    add("OneLetter64K", std::string(1 << 16, 'a'));
    add("OneLetter1M", std::string(1 << 20, 'a'));
  }
}

const bool kRegistered = [] {
  RegisterRows();
  return true;
}();

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
