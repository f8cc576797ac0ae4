// Tokenizers in GGUF metadata from the world: every contradiction is an error that names the file
// and the field.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "model/tokenizer.h"
#include "model/tokenizer/gguf_patterns.h"
#include "model/tokenizer/tokenizer_json.h"

namespace npumoe {
namespace {

// Letters a to d, "ab", "abc", one control token; byte-level BPE.
GgufVocabulary SmallByteLevel() {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "gpt-2";
  vocabulary.tokens = {"a", "b", "c", "d", "ab", "abc", "<end>", "<tool>"};
  vocabulary.types = {1, 1, 1, 1, 1, 1, 3, 4};
  vocabulary.merges = {"a b", "ab c"};
  vocabulary.eos_id = 6;
  return vocabulary;
}

// The same letters in SentencePiece's manner.
GgufVocabulary SmallSentencePiece() {
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.tokens = {"<unk>", "<s>", "</s>", kVisibleSpace, "a", "b", "c", "ab", "abc", "bc"};
  vocabulary.types = {2, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  vocabulary.scores = {0, 0, 0, -9, -9, -9, -9, -2, -3, -1};
  vocabulary.unknown_id = 0;
  vocabulary.bos_id = 1;
  vocabulary.eos_id = 2;
  return vocabulary;
}

using Change = std::function<void(GgufVocabulary&)>;

Status Changed(GgufVocabulary vocabulary, const Change& change) {
  change(vocabulary);
  return Tokenizer::FromGguf(vocabulary, "small.gguf").status();
}

void ExpectError(const Status& status, StatusCode code, const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status.message();
  EXPECT_EQ(status.message().rfind("small.gguf", 0), 0u) << status.message();
  for (const std::string& part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }
}

std::vector<int32_t> Ids(const GgufVocabulary& vocabulary, const std::string& text,
                         SpecialTokens special = SpecialTokens::kParse) {
  const auto tokenizer = Tokenizer::FromGguf(vocabulary, "small.gguf");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const auto ids = (*tokenizer)->Encode(text, special);
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  return *ids;
}

TEST(GgufVocabulary, ByteLevelMergesInTheOrderOfItsList) {
  EXPECT_EQ(Ids(SmallByteLevel(), "abcab<end>d"), (std::vector<int32_t>{5, 4, 6, 3}));
}

TEST(GgufVocabulary, UserDefinedTokensCountEverywhereAndControlTokensOnlyWhenParsed) {
  EXPECT_EQ(Ids(SmallByteLevel(), "a<tool>b", SpecialTokens::kAsText),
            (std::vector<int32_t>{0, 7, 1}));
  const auto tokenizer = Tokenizer::FromGguf(SmallByteLevel(), "small.gguf");
  EXPECT_FALSE((*tokenizer)->Encode("a<end>", SpecialTokens::kAsText).ok());  // no token for '<'
}

// As llama.cpp: such a token is text, whatever bytes its letters would spell ("\u00FC" is FC).
TEST(GgufVocabulary, UserDefinedTokensDecodeToTheirText) {
  for (auto vocabulary : {SmallByteLevel(), SmallSentencePiece()}) {
    vocabulary.tokens.insert(vocabulary.tokens.end(), {"\u00FC", "\u2581a", "<0x0A>"});
    vocabulary.types.insert(vocabulary.types.end(), {4, 4, 4});
    if (!vocabulary.scores.empty()) vocabulary.scores.insert(vocabulary.scores.end(), 3, -20.0f);
    const auto tokenizer = Tokenizer::FromGguf(vocabulary, "small.gguf");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    const std::string text = "a\u00FC\u2581a<0x0A>\u00FC";
    const auto ids = (*tokenizer)->Encode(text, SpecialTokens::kAsText);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(*(*tokenizer)->Decode(*ids, DecodeSpecial::kKeep), text);
  }
}

TEST(GgufVocabulary, SentencePieceMergesTheBestScoreFirst) {
  // "bc" has the best score: of "abc" it is made first, and then "a" + "bc" is "abc".
  EXPECT_EQ(Ids(SmallSentencePiece(), "abc ab"), (std::vector<int32_t>{3, 8, 3, 7}));
}

TEST(GgufVocabulary, SentencePieceTextsBeginWithBosUnlessTheFileSaysNo) {
  auto vocabulary = SmallSentencePiece();
  EXPECT_EQ((*Tokenizer::FromGguf(vocabulary, "x"))->prefix_ids().size(), 1u);
  vocabulary.add_bos = false;
  EXPECT_TRUE((*Tokenizer::FromGguf(vocabulary, "x"))->prefix_ids().empty());
  auto bytes = SmallByteLevel();
  bytes.bos_id = 6;
  EXPECT_TRUE((*Tokenizer::FromGguf(bytes, "x"))->prefix_ids().empty());
  bytes.add_bos = true;
  EXPECT_EQ((*Tokenizer::FromGguf(bytes, "x"))->prefix_ids().size(), 1u);
}

TEST(HostileGgufVocabulary, RefusesAnUnknownModelByName) {
  ExpectError(Changed(SmallByteLevel(), [](auto& v) { v.model = "bert"; }),
              StatusCode::kUnsupported, {"tokenizer.ggml.model", "'bert'", "'gpt2'", "'llama'"});
}

TEST(HostileGgufVocabulary, ListsTheKnownPatternsForAnUnknownOne) {
  ExpectError(Changed(SmallByteLevel(), [](auto& v) { v.pre = "gpt-5"; }), StatusCode::kUnsupported,
              {"tokenizer.ggml.pre", "'gpt-5'", "'qwen2'", "'llama-bpe'", "'deepseek-llm'"});
}

TEST(HostileGgufVocabulary, RefusesByteLevelBpeWithoutMerges) {
  ExpectError(Changed(SmallByteLevel(), [](auto& v) { v.merges.clear(); }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.merges", "missing"});
}

TEST(HostileGgufVocabulary, RefusesMergesThatAreNoPairs) {
  for (const char* merge : {"", "ab", "a ", " b", "a b c", " "}) {
    ExpectError(Changed(SmallByteLevel(), [&](auto& v) { v.merges[1] = merge; }),
                StatusCode::kInvalidInput, {"tokenizer.ggml.merges", "[1]"});
  }
}

TEST(HostileGgufVocabulary, RefusesMergesOfUnknownTokens) {
  ExpectError(Changed(SmallByteLevel(), [](auto& v) { v.merges[0] = "a x"; }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.merges'[0]", "tokenizer.ggml.tokens"});
}

TEST(HostileGgufVocabulary, RefusesTwoTokensOfOneSpelling) {
  ExpectError(Changed(SmallByteLevel(), [](auto& v) { v.tokens[3] = "a"; }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.tokens", "'a'", "0", "3", "twice"});
}

TEST(HostileGgufVocabulary, RefusesAnEmptyVocabulary) {
  ExpectError(Changed(SmallByteLevel(), [](auto& v) { v.tokens.clear(); }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.tokens", "0 tokens"});
}

TEST(HostileGgufVocabulary, RefusesListsOfAnotherLength) {
  ExpectError(Changed(SmallByteLevel(), [](auto& v) { v.types.pop_back(); }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.token_type", "7", "8"});
  ExpectError(Changed(SmallSentencePiece(), [](auto& v) { v.scores.pop_back(); }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.scores", "9", "10"});
  ExpectError(Changed(SmallSentencePiece(), [](auto& v) { v.scores.clear(); }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.scores", "0 scores"});
}

TEST(HostileGgufVocabulary, RefusesIdsOutsideOfTheVocabulary) {
  for (const int32_t id : {-1, 8, 1 << 30, std::numeric_limits<int32_t>::min()}) {
    ExpectError(Changed(SmallByteLevel(), [&](auto& v) { v.bos_id = id; }),
                StatusCode::kInvalidInput, {"token_id", std::to_string(id)});
    ExpectError(Changed(SmallByteLevel(), [&](auto& v) { v.unknown_id = id; }),
                StatusCode::kInvalidInput, {"token_id", std::to_string(id)});
  }
}

TEST(HostileGgufVocabulary, RefusesScoresThatAreNoNumbers) {
  for (const float score : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    ExpectError(Changed(SmallSentencePiece(), [&](auto& v) { v.scores[5] = score; }),
                StatusCode::kInvalidInput, {"tokenizer.ggml.scores", "token 5"});
  }
}

TEST(HostileGgufVocabulary, RefusesTokensThatAreNoText) {
  ExpectError(Changed(SmallByteLevel(), [](auto& v) { v.tokens[2] = "\xFF"; }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.tokens", "token 2", "UTF-8"});
}

TEST(HostileGgufVocabulary, RefusesTokensOfAbsurdLength) {
  const std::string absurd(1 << 20, 'a');
  ExpectError(Changed(SmallByteLevel(), [&](auto& v) { v.tokens[6] = absurd; }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.tokens", "1024"});
  ExpectError(Changed(SmallSentencePiece(), [&](auto& v) { v.tokens[9] = absurd; }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.tokens", "1024"});
  ExpectError(Changed(SmallByteLevel(), [](auto& v) { v.tokens[6] = ""; }),
              StatusCode::kInvalidInput, {"tokenizer.ggml.tokens", "control token 6"});
}

TEST(HostileGgufVocabulary, UnknownTypesOfTokensMeanNothing) {
  auto vocabulary = SmallByteLevel();
  vocabulary.types[3] = 77;
  EXPECT_EQ(Ids(vocabulary, "abcd"), (std::vector<int32_t>{5, 3}));
}

TEST(GgufFromSpec, EveryPatternFindsItsOwnName) {
  for (const GgufPattern& pattern : GgufPatterns()) {
    auto vocabulary = SmallByteLevel();
    vocabulary.pre = pattern.names.front();
    const auto spec = SpecFromGguf(vocabulary, "x");
    ASSERT_TRUE(spec.ok()) << spec.status().message();
    const auto back = GgufFromSpec(*spec, 8, "x");
    ASSERT_TRUE(back.ok()) << back.status().message();
    EXPECT_EQ(back->pre, vocabulary.pre);
    EXPECT_EQ(back->tokens, vocabulary.tokens);
    EXPECT_EQ(back->types, vocabulary.types);
    EXPECT_EQ(back->merges, vocabulary.merges);
  }
}

TEST(GgufFromSpec, MissingIdsBecomeUnusedTokens) {
  const auto spec = SpecFromGguf(SmallByteLevel(), "x");
  const auto padded = GgufFromSpec(*spec, 10, "x");
  ASSERT_TRUE(padded.ok());
  ASSERT_EQ(padded->tokens.size(), 10u);
  EXPECT_EQ(padded->types[9], static_cast<int32_t>(GgufTokenType::kUnused));
  EXPECT_TRUE(Tokenizer::FromGguf(*padded, "x").ok());
}

TEST(GgufFromSpec, RefusesATokenBeyondTheModelsVocabulary) {
  const auto spec = SpecFromGguf(SmallByteLevel(), "x");
  const auto cut = GgufFromSpec(*spec, 7, "x");
  ASSERT_FALSE(cut.ok());
  EXPECT_NE(cut.status().message().find("'<tool>'"), std::string::npos);
}

TEST(GgufFromSpec, RefusesAPatternWithoutAName) {
  auto spec = *SpecFromGguf(SmallByteLevel(), "x");
  std::get<ByteLevelStep>(spec.pre_tokenizers.back()).add_prefix_space = true;
  EXPECT_EQ(GgufFromSpec(spec, 8, "x").status().code(), StatusCode::kUnsupported);
  auto other = *SpecFromGguf(SmallSentencePiece(), "x");
  other.normalizers.push_back(StripNormalizer{});
  EXPECT_EQ(GgufFromSpec(other, 10, "x").status().code(), StatusCode::kUnsupported);
}

}  // namespace
}  // namespace npumoe
