// The tokenizer against the reference: ids and texts that the `tokenizers` package and ggml
// produced, for vocabularies of every kind.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "model/gguf/gguf_file.h"
#include "model/gguf/gguf_tokenizer.h"
#include "model/tokenizer.h"
#include "model/tokenizer/shared_test_data.h"
#include "model/tokenizer/split_pattern.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = NPUMOE_SOURCE_DIR;
const fs::path& kShared = SharedTokenizers();

std::shared_ptr<const Tokenizer> LoadOrDie(const fs::path& path) {
  auto tokenizer = Tokenizer::Load(path);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

// Every line: {"text", "ids", "decoded"}, special tokens parsed.
void ExpectVectorsEqual(const std::shared_ptr<const Tokenizer>& tokenizer,
                        const fs::path& vectors_path, size_t expected_lines) {
  ASSERT_NE(tokenizer, nullptr);
  std::ifstream vectors(vectors_path);
  size_t lines = 0;
  for (std::string line; std::getline(vectors, line); ++lines) {
    const auto vector = nlohmann::json::parse(line);
    const auto text = vector["text"].get<std::string>();
    const auto ids = tokenizer->Encode(text, SpecialTokens::kParse);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    ASSERT_EQ(*ids, vector["ids"].get<std::vector<int32_t>>()) << "line " << lines << ": " << text;
    const auto decoded = tokenizer->Decode(*ids, DecodeSpecial::kKeep);
    ASSERT_TRUE(decoded.ok()) << decoded.status().message();
    ASSERT_EQ(*decoded, vector["decoded"].get<std::string>()) << "line " << lines;
  }
  EXPECT_EQ(lines, expected_lines);
}

TEST(TokenizerReference, DemoVocabularyGivesTheReferencesIdsAndTexts) {
  ExpectVectorsEqual(LoadOrDie(kSource / "models/demo/tokenizer.json"),
                     kSource / "tests/data/tokenizer/demo.vectors.jsonl", 64);
}

TEST(TokenizerReference, Qwen3GivesTheReferencesIdsAndTexts) {
  NPUMOE_NEEDS(kShared / "Qwen3.vectors.jsonl");
  ExpectVectorsEqual(LoadOrDie(kShared / "Qwen3.tokenizer.json"), kShared / "Qwen3.vectors.jsonl",
                     160);
}

TEST(TokenizerReference, OlmoGivesTheReferencesIdsAndTexts) {
  NPUMOE_NEEDS(kShared / "OLMo.vectors.jsonl");
  ExpectVectorsEqual(LoadOrDie(kShared / "allenai_gpt-neox-olmo-dolma-v1_5.tokenizer.json"),
                     kShared / "OLMo.vectors.jsonl", 160);
}

TEST(TokenizerReference, GptOssGivesTheReferencesIdsAndTexts) {
  NPUMOE_NEEDS(kShared / "gpt-oss.vectors.jsonl");
  const auto json = ReadXz(kShared / "gpt-oss.tokenizer.json.xz");
  if (!json) GTEST_SKIP() << "xz is not installed, nothing to do";
  const auto tokenizer = Tokenizer::FromJson(*json, "gpt-oss");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  ExpectVectorsEqual(*tokenizer, kShared / "gpt-oss.vectors.jsonl", 160);
}

TEST(TokenizerReference, Phi3GivesTheReferencesIdsAndTexts) {
  NPUMOE_NEEDS(kShared / "Phi-3.vectors.jsonl");
  ExpectVectorsEqual(LoadOrDie(kShared / "Phi-3.derived.tokenizer.json"),
                     kShared / "Phi-3.vectors.jsonl", 160);
}

std::shared_ptr<const Tokenizer> LoadGgufOrDie(const fs::path& path) {
  const auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status().message();
  if (!file.ok()) return nullptr;
  const auto vocabulary = ReadGgufVocabulary(file->metadata());
  EXPECT_TRUE(vocabulary.ok() && vocabulary->has_value());
  if (!vocabulary.ok() || !vocabulary->has_value()) return nullptr;
  auto tokenizer = Tokenizer::FromGguf(**vocabulary, path.string());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

TEST(TokenizerReference, Phi3FromGgufGivesTheReferencesIdsAndTextsToo) {
  NPUMOE_NEEDS(kShared / "ggml-vocab-phi-3.gguf");
  ExpectVectorsEqual(LoadGgufOrDie(kShared / "ggml-vocab-phi-3.gguf"),
                     kShared / "Phi-3.vectors.jsonl", 160);
}

// The demo's tokenizer.json with the fields that a line of variants.jsonl changes.
std::string VariantText(const nlohmann::json& variant) {
  auto json = nlohmann::json::parse(ReadAll(kSource / "models/demo/tokenizer.json"));
  for (const auto& token : variant["added_tokens"]) json["added_tokens"].push_back(token);
  json["pre_tokenizer"] = variant["pre_tokenizer"];
  json["normalizer"] = variant["normalizer"];
  json["model"]["ignore_merges"] = variant["ignore_merges"];
  if (variant["merges"] == "text") {
    for (auto& merge : json["model"]["merges"]) {
      merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    }
  }
  return json.dump();
}

// Added tokens with every flag, prefix spaces, several patterns, merges as text, no normalizer.
TEST(TokenizerReference, VariantsOfTheDemoVocabularyGiveTheReferencesIdsAndTexts) {
  std::ifstream variants(kSource / "tests/data/tokenizer/variants.jsonl");
  size_t cases = 0;
  for (std::string line; std::getline(variants, line);) {
    const auto variant = nlohmann::json::parse(line);
    const auto tokenizer = Tokenizer::FromJson(VariantText(variant), "variant");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    for (const auto& vector : variant["cases"]) {
      const bool is_parsed = vector["special"] == "parse";
      const auto ids = (*tokenizer)
                           ->Encode(vector["text"].get<std::string>(),
                                    is_parsed ? SpecialTokens::kParse : SpecialTokens::kAsText);
      ASSERT_TRUE(ids.ok()) << ids.status().message();
      ASSERT_EQ(*ids, vector["ids"].get<std::vector<int32_t>>()) << vector.dump();
      ASSERT_EQ(*(*tokenizer)->Decode(*ids, DecodeSpecial::kKeep), vector["decoded"])
          << vector.dump();
      ++cases;
    }
  }
  EXPECT_EQ(cases, 240u);
}

TEST(TokenizerReference, PatternsCutWhereTheReferencesEngineCuts) {
  std::ifstream patterns(kSource / "tests/data/tokenizer/patterns.jsonl");
  size_t cases = 0;
  for (std::string line; std::getline(patterns, line); ++cases) {
    const auto json = nlohmann::json::parse(line);
    const auto split = SplitPattern::FromRegex(json["pattern"].get<std::string>(), "test");
    ASSERT_TRUE(split.ok()) << split.status().message();
    PatternWorkspace workspace;
    std::vector<std::string> pieces;
    const std::string text = json["text"].get<std::string>();
    const Status status = split->Split(text, &workspace, [&](std::string_view piece) {
      pieces.emplace_back(piece);
      return OkStatus();
    });
    ASSERT_TRUE(status.ok()) << status.message();
    ASSERT_EQ(pieces, json["pieces"].get<std::vector<std::string>>()) << line;
  }
  EXPECT_GT(cases, 200u);
}

std::vector<std::string> SplitCases(const std::string& text) {
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> cases;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != text.npos;
       begin = end + separator.size()) {
    cases.push_back(text.substr(begin, end - begin));
  }
  cases.push_back(text.substr(begin));
  return cases;
}

struct Pair {
  std::string text;
  std::vector<int32_t> ids;
};

// NAME.inp with texts, NAME.out with their ids, no special tokens.
std::vector<Pair> ReadPairs(const std::string& name) {
  std::ifstream expected(kShared / (name + ".out"));
  std::vector<Pair> pairs;
  for (std::string& text : SplitCases(ReadAll(kShared / (name + ".inp")))) {
    std::string line;
    if (!std::getline(expected, line)) break;  // the last separator ends the file
    std::istringstream numbers(line);
    pairs.push_back({std::move(text), {std::istream_iterator<int32_t>(numbers), {}}});
  }
  EXPECT_EQ(pairs.size(), 46u);
  return pairs;
}

// Every one of these tokenizers is lossless on these texts (Phi-3's puts a space before them and
// takes it off again): the ids decode to the text.
void ExpectPairsEqual(const std::shared_ptr<const Tokenizer>& tokenizer, const std::string& name) {
  ASSERT_NE(tokenizer, nullptr);
  for (const Pair& pair : ReadPairs(name)) {
    const auto ids = tokenizer->Encode(pair.text, SpecialTokens::kAsText);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    ASSERT_EQ(*ids, pair.ids) << pair.text;
    const auto decoded = tokenizer->Decode(*ids, DecodeSpecial::kKeep);
    ASSERT_TRUE(decoded.ok()) << decoded.status().message();
    EXPECT_EQ(*decoded, pair.text);
  }
}

TEST(TokenizerReference, Qwen3GivesTheIdsAndTextsOfGgmlsPairs) {
  NPUMOE_NEEDS(kShared / "ggml-vocab-qwen2.gguf.inp");
  ExpectPairsEqual(LoadOrDie(kShared / "Qwen3.tokenizer.json"), "ggml-vocab-qwen2.gguf");
}

TEST(TokenizerReference, Phi3GivesTheIdsAndTextsOfGgmlsPairs) {
  NPUMOE_NEEDS(kShared / "Phi-3.derived.tokenizer.json");
  ExpectPairsEqual(LoadOrDie(kShared / "Phi-3.derived.tokenizer.json"), "ggml-vocab-phi-3.gguf");
}

class GgufPairs : public ::testing::TestWithParam<std::string> {};

TEST_P(GgufPairs, GiveTheIdsAndTextsOfGgml) {
  NPUMOE_NEEDS(kShared / GetParam());
  ExpectPairsEqual(LoadGgufOrDie(kShared / GetParam()), GetParam());
}

// What a folder gets that is made of a GGUF. (Its texts may differ: in tokenizer.json the added
// token 'ü' of DeepSeek is a broken byte, see AddedToken::is_literal.)
TEST_P(GgufPairs, GiveTheIdsOfGgmlAsTokenizerJsonToo) {
  NPUMOE_NEEDS(kShared / GetParam());
  const auto file = GgufFile::Open(kShared / GetParam());
  ASSERT_TRUE(file.ok()) << file.status().message();
  const auto json = GgufTokenizerJson(file->metadata());
  ASSERT_TRUE(json.ok()) << json.status().message();
  const auto tokenizer = Tokenizer::FromJson(*json, "written");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const auto original = LoadGgufOrDie(kShared / GetParam());
  EXPECT_EQ((*tokenizer)->vocab_size(), original->vocab_size());
  EXPECT_TRUE(std::ranges::equal((*tokenizer)->prefix_ids(), original->prefix_ids()));
  for (const Pair& pair : ReadPairs(GetParam())) {
    const auto ids = (*tokenizer)->Encode(pair.text, SpecialTokens::kAsText);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    ASSERT_EQ(*ids, pair.ids) << pair.text;
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, GgufPairs,
                         ::testing::Values("ggml-vocab-phi-3.gguf", "ggml-vocab-gpt-2.gguf",
                                           "ggml-vocab-deepseek-llm.gguf"));

}  // namespace
}  // namespace npumoe
