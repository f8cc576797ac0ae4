// SentencePiece-style BPE: a small vocabulary in every style of its files, against what the
// `tokenizers` package gives; streams of bytes; and the way through GGUF and back.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/tokenizer.h"
#include "model/tokenizer/normalizer_pipeline.h"
#include "model/tokenizer/shared_test_data.h"
#include "model/tokenizer/tokenizer_json.h"
#include "model/tokenizer/utf8.h"
#include "model/tokenizer/word_borders.h"

namespace npumoe {
namespace {

using Json = nlohmann::json;

const std::string kData = std::string(NPUMOE_SOURCE_DIR) + "/tests/data/tokenizer/";

Json SmallJson() { return Json::parse(ReadAll(kData + "small.sentencepiece.json")); }

std::shared_ptr<const Tokenizer> LoadOrDie(const Json& json) {
  auto tokenizer = Tokenizer::FromJson(json.dump(), "small");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

std::shared_ptr<const Tokenizer> Small() { return LoadOrDie(SmallJson()); }

// The small tokenizer with the fields that a line of sentencepiece.variants.jsonl changes.
Json Changed(const Json& change) {
  Json json = SmallJson();
  for (const auto& [key, value] : change.items()) {
    if (key == "drop_bytes") {
      for (const int byte : value) {
        char token[8];
        std::snprintf(token, sizeof(token), "<0x%02X>", byte);
        json["model"]["vocab"].erase(token);
      }
    } else if (key == "fuse_unk" || key == "ignore_merges") {
      json["model"][key] = value;
    } else {
      json[key] = value;
    }
  }
  return json;
}

std::string StreamedText(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                         DecodeSpecial special) {
  StreamDecoder stream(tokenizer, special);
  std::string text;
  for (const int32_t id : ids) {
    const std::string part = *stream.Add(id);
    EXPECT_EQ(FirstInvalidUtf8(part), std::nullopt);
    text += part;
  }
  return text + stream.Finish();
}

void ExpectEncodings(const Tokenizer& tokenizer, const Json& variant) {
  for (const Json& vector : variant["cases"]) {
    const bool is_parsed = vector["special"] == "parse";
    const auto ids = tokenizer.Encode(vector["text"].get<std::string>(),
                                      is_parsed ? SpecialTokens::kParse : SpecialTokens::kAsText);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    ASSERT_EQ(*ids, vector["ids"].get<std::vector<int32_t>>())
        << variant["name"] << " " << vector.dump();
    ASSERT_EQ(*tokenizer.Decode(*ids, DecodeSpecial::kKeep), vector["decoded"])
        << variant["name"] << " " << vector.dump();
  }
}

void ExpectDecodings(const Tokenizer& tokenizer, const Json& variant) {
  for (const Json& vector : variant["decoding"]) {
    const auto ids = vector["ids"].get<std::vector<int32_t>>();
    for (const auto& [special, key] :
         {std::pair(DecodeSpecial::kKeep, "keep"), std::pair(DecodeSpecial::kSkip, "skip")}) {
      const std::string want = vector[key];
      ASSERT_EQ(*tokenizer.Decode(ids, special), want) << variant["name"] << " " << vector.dump();
      ASSERT_EQ(StreamedText(tokenizer, ids, special), want) << vector.dump();
    }
  }
}

TEST(SentencePiece, EveryStyleGivesTheReferencesIdsAndTexts) {
  std::ifstream variants(kData + "sentencepiece.variants.jsonl");
  size_t count = 0;
  for (std::string line; std::getline(variants, line); ++count) {
    const Json variant = Json::parse(line);
    const auto tokenizer = LoadOrDie(Changed(variant["change"]));
    ASSERT_NE(tokenizer, nullptr) << variant["name"];
    ExpectEncodings(*tokenizer, variant);
    ExpectDecodings(*tokenizer, variant);
  }
  EXPECT_EQ(count, 10u);
}

TEST(SentencePiece, ACharacterSplitOverBytesIsNeverPrintedBroken) {
  const auto tokenizer = Small();
  const auto ids = *tokenizer->Encode("x 😀日本 y", SpecialTokens::kAsText);
  EXPECT_EQ(StreamedText(*tokenizer, ids, DecodeSpecial::kKeep), "x 😀日本 y");
}

TEST(SentencePiece, TextNeverBecomesAControlTokenByMerging) {
  Json json = SmallJson();
  // A hostile file that merges the spelling of a control token out of its characters.
  auto& vocabulary = json["model"]["vocab"];
  int next = 1200;
  for (const char* token : {"<", "s", ">", "<s"}) {
    if (!vocabulary.contains(token)) vocabulary[token] = next++;
  }
  json["model"]["merges"].insert(json["model"]["merges"].begin(), Json::array({"<s", ">"}));
  json["model"]["merges"].insert(json["model"]["merges"].begin(), Json::array({"<", "s"}));
  const auto tokenizer = LoadOrDie(json);
  ASSERT_NE(tokenizer, nullptr);
  const int32_t begin = *tokenizer->TokenId("<s>");
  const auto as_text = *tokenizer->Encode("<s>", SpecialTokens::kAsText);
  EXPECT_EQ(std::ranges::count(as_text, begin), 0);
  EXPECT_EQ(*tokenizer->Decode(as_text, DecodeSpecial::kKeep), "<s>");
  EXPECT_EQ(*tokenizer->Encode("<s>", SpecialTokens::kParse), std::vector<int32_t>{begin});
}

TEST(SentencePiece, APromptBeginsWithBosOnce) {
  const auto tokenizer = Small();
  const int32_t bos = *tokenizer->TokenId("<s>");
  EXPECT_EQ(std::vector<int32_t>(tokenizer->prefix_ids().begin(), tokenizer->prefix_ids().end()),
            std::vector<int32_t>{bos});
  const auto plain = *tokenizer->Encode("Hello", SpecialTokens::kParse);
  auto want = plain;
  want.insert(want.begin(), bos);
  EXPECT_EQ(*tokenizer->EncodePrompt("Hello", SpecialTokens::kParse), want);
  EXPECT_EQ(*tokenizer->EncodePrompt("<s>Hello", SpecialTokens::kParse), want);
}

// The visible space of one word joined to the letter before it: texts must not be cut there.
TEST(SentencePiece, WordsAreNotCutWhereAMergeCrossesTheirBorder) {
  BpeSpec spec;
  spec.symbols = BpeSymbols::kCharacters;
  const std::string space = kVisibleSpace;
  spec.vocabulary = {{space, 0}, {"a", 1}, {"b", 2}, {"b" + space, 3}};
  spec.merges = {{"b", space}};
  const WordBorders borders(spec);
  const std::string text = "ab" + space + "a" + space + "b";
  EXPECT_EQ(borders.FirstWordBytes(text), std::string("ab" + space + "a").size());
}

// BPE as its definition says, on the whole text at once: slow, and nothing is cut.
std::vector<std::string> MergedPieces(const std::string& text, const Json& merges) {
  std::vector<std::string> pieces;
  for (size_t i = 0; i < text.size(); i += ReadUtf8(text, i).bytes) {
    pieces.push_back(text.substr(i, ReadUtf8(text, i).bytes));
  }
  for (;;) {
    size_t best = merges.size(), at = 0;
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      const auto found = std::ranges::find(merges, Json::array({pieces[i], pieces[i + 1]}));
      const auto rank = static_cast<size_t>(found - merges.begin());
      if (rank < best) {
        best = rank;
        at = i;
      }
    }
    if (best == merges.size()) return pieces;
    pieces[at] += pieces[at + 1];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(SentencePiece, CuttingWordsBeforehandChangesNoId) {
  Json json = SmallJson();
  json["model"]["vocab"]["e" + std::string(kVisibleSpace)] = 1200;
  json["model"]["merges"].insert(json["model"]["merges"].begin() + 40,
                                 Json::array({"e", kVisibleSpace}));
  const auto tokenizer = LoadOrDie(json);
  ASSERT_NE(tokenizer, nullptr);
  const std::string space = kVisibleSpace;
  std::vector<int32_t> want;
  const std::string text = "one two  three the same e e words";
  for (const std::string& piece :
       MergedPieces(space + ReplaceAll(text, " ", space), json["model"]["merges"])) {
    want.push_back(*tokenizer->TokenId(piece));
  }
  EXPECT_EQ(*tokenizer->Encode(text, SpecialTokens::kAsText), want);
  EXPECT_GT(std::ranges::count(want, 1200), 0);
}

TEST(SentencePiece, GoesThroughGgufAndBack) {
  const auto spec = ParseTokenizerJson(SmallJson().dump(), "small");
  ASSERT_TRUE(spec.ok());
  const auto vocabulary = GgufFromSpec(*spec, 1210, "small");
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status().message();
  EXPECT_EQ(vocabulary->model, "llama");
  EXPECT_EQ(vocabulary->add_bos, true);
  ASSERT_EQ(vocabulary->tokens.size(), 1210u);
  const auto from_gguf = Tokenizer::FromGguf(*vocabulary, "gguf");
  ASSERT_TRUE(from_gguf.ok()) << from_gguf.status().message();
  const auto plain = Small();
  const std::string text =
      ReadAll(std::string(NPUMOE_SOURCE_DIR) + "/models/demo/held_out_text.txt").substr(0, 20000);
  EXPECT_EQ(*(*from_gguf)->EncodePrompt(text, SpecialTokens::kAsText),
            *plain->EncodePrompt(text, SpecialTokens::kAsText));
}

TEST(SentencePiece, ATokenizerJsonWrittenFromAGgufReadsAlike) {
  const auto spec = ParseTokenizerJson(SmallJson().dump(), "small");
  const auto vocabulary = GgufFromSpec(*spec, 1200, "small");
  const auto gguf_spec = SpecFromGguf(*vocabulary, "gguf");
  ASSERT_TRUE(gguf_spec.ok());
  const auto read = Tokenizer::FromJson(TokenizerJsonText(*gguf_spec), "written");
  ASSERT_TRUE(read.ok()) << read.status().message();
  const std::string text = "The king crossed the great river, 日本 and naïve.\n\n  Twice.";
  EXPECT_EQ(*(*read)->EncodePrompt(text, SpecialTokens::kParse),
            *Small()->EncodePrompt(text, SpecialTokens::kParse));
}

}  // namespace
}  // namespace npumoe
