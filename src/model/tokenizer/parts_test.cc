// The small parts of the tokenizer on their own: UTF-8, byte alphabet, normalizer.
#include <gtest/gtest.h>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/normalizer_pipeline.h"
#include "model/tokenizer/unicode_versions.h"
#include "model/tokenizer/utf8.h"

namespace npumoe {
namespace {

TEST(Utf8, EveryCharacterSurvivesWritingAndReading) {
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string text;
    AppendUtf8(code, &text);
    const Utf8Step step = ReadUtf8(text, 0);
    ASSERT_TRUE(step.valid && step.code == code && step.bytes == text.size())
        << static_cast<uint32_t>(code);
  }
}

TEST(Utf8, FindsTheFirstBrokenByte) {
  EXPECT_EQ(FirstInvalidUtf8("aé"), std::nullopt);
  EXPECT_EQ(FirstInvalidUtf8("a\xE2\x82"), 1u);
  EXPECT_EQ(FirstInvalidUtf8("\xF8"), 0u);
}

TEST(Utf8, AnUnfinishedCharacterIsTheShortestSuffixThatMayGoOn) {
  EXPECT_EQ(UnfinishedSuffixBytes(""), 0u);
  EXPECT_EQ(UnfinishedSuffixBytes("é"), 0u);
  EXPECT_EQ(UnfinishedSuffixBytes("a\xC3"), 1u);
  EXPECT_EQ(UnfinishedSuffixBytes("\xF0\x9F\x98"), 3u);
  EXPECT_EQ(UnfinishedSuffixBytes("\xF0\x80"), 0u);  // no character begins so
  EXPECT_EQ(UnfinishedSuffixBytes("\x80\x80\x80"), 0u);
}

TEST(ByteLevel, TheAlphabetSpellsEveryByteOnce) {
  std::vector<int> seen(256);
  for (char32_t code = 0; code < 0x400; ++code) {
    if (const auto byte = ByteOfAlphabet(code)) ++seen[*byte];
  }
  EXPECT_EQ(seen, std::vector<int>(256, 1));
}

TEST(ByteLevel, SpellingsBecomeBytes) {
  EXPECT_EQ(BytesOfSpelling("ĠaĊ"), " a\n");
  EXPECT_EQ(BytesOfSpelling("Ã©"), "é");
  EXPECT_EQ(BytesOfSpelling("a b"), std::nullopt);  // the space is spelled Ġ
  EXPECT_EQ(BytesOfSpelling("日"), std::nullopt);
}

TEST(Normalizer, ComposesOrdersAndDecomposes) {
  EXPECT_EQ(Nfc("e\u0301"), "\u00E9");
  EXPECT_EQ(Nfc("a\u0315\u0300"), "\u00E0\u0315");
  EXPECT_EQ(Nfc("\u1112\u1161\u11AB"), "\uD55C");
  EXPECT_EQ(Nfc("\u212B"), "\u00C5");
  EXPECT_EQ(Nfc("\u0344"), "\u0308\u0301");
  EXPECT_EQ(Nfc("\u0958"), "\u0915\u093C");
  EXPECT_EQ(Nfc("plain"), "plain");
}

TEST(Normalizer, LeavesCharactersAfterUnicode9Alone) {
  EXPECT_TRUE(IsInertInNormalization(0x0898));
  EXPECT_EQ(Nfc("a\u0898\u0301"), "a\u0898\u0301");
  EXPECT_EQ(Nfc("\U00011935\U00011930"), "\U00011935\U00011930");
}

TEST(Normalizer, NfkcReplacesCompatibilityCharacters) {
  EXPECT_EQ(Nfkc("\uFB01 \u00BD \u2163 \uFF21"), "fi 1\u20442 IV A");
  EXPECT_EQ(Nfkc("e\u0301 \u00A0"), "\u00E9  ");
  EXPECT_EQ(Nfkc("\uFDFA").size(), 33u);  // the longest decomposition, 18 characters
  EXPECT_EQ(Nfkc("\u32FF \U0001FBF0"), "\u32FF \U0001FBF0");  // after Unicode 9
}

// Ranges of control text stay around the same characters, whatever becomes of them.
TEST(NormalizerPipeline, KeepsTheRangesOfControlText) {
  const NormalizerPipeline pipeline(
      {StripNormalizer{}, PrependNormalizer{"__"}, ReplaceNormalizer{" ", "--"}, NfcNormalizer{}},
      "test");
  //                         0123456789
  const auto result = pipeline.Run({"  a <x> b ", {{4, 7}, {9, 10}}});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->text, "__a--<x>--b");
  ASSERT_EQ(result->control.size(), 2u);
  EXPECT_EQ(result->text.substr(result->control[0].begin, 3), "<x>");
  EXPECT_EQ(result->control[0].end, result->control[0].begin + 3);
  EXPECT_EQ(result->control[1].begin, result->control[1].end);  // its space was stripped
}

TEST(NormalizerPipeline, BlamesTheTokenizerThatGrowsATextWithoutBound) {
  const std::vector<std::vector<NormalizerStep>> pipelines = {
      std::vector<NormalizerStep>(40, ReplaceNormalizer{"a", "aa"}),
      std::vector<NormalizerStep>(2, ReplaceNormalizer{"a", std::string(64, 'a')}),
      std::vector<NormalizerStep>(32, PrependNormalizer{std::string(64, 'a')})};
  for (const auto& steps : pipelines) {
    const NormalizerPipeline pipeline(steps, "file.json");
    for (const size_t bytes : {size_t{1}, size_t{20}}) {
      const auto result = pipeline.Run({std::string(bytes, 'a'), {}});
      ASSERT_FALSE(result.ok());
      EXPECT_EQ(result.status().code(), StatusCode::kInvalidInput);
      EXPECT_EQ(result.status().message().rfind("file.json: field 'normalizer'", 0), 0u)
          << result.status().message();
    }
  }
}

TEST(NormalizerPipeline, RefusesMoreTextThanPositionsCanCount) {
  const NormalizerPipeline pipeline({ReplaceNormalizer{"a", std::string(30, 'b')}}, "file.json");
  const auto result = pipeline.Run({std::string(size_t{36} << 20, 'a'), {}});
  EXPECT_EQ(result.status().code(), StatusCode::kResourceExhausted);
}

// U+FDFA, eighteen characters in NFKC with three spaces among them, grows more than any other.
TEST(NormalizerPipeline, AllowsTheGrowthOfPublishedTokenizersForEveryText) {
  const NormalizerPipeline pipeline(
      {NfkcNormalizer{}, PrependNormalizer{kVisibleSpace}, ReplaceNormalizer{" ", kVisibleSpace},
       NfkcNormalizer{}, NfcNormalizer{}},
      "file.json");
  for (const std::string character : {"\uFDFA", " ", "\u1E9B\u0323", "a"}) {
    std::string text = character;
    for (int i = 0; i < 10; ++i) text += text;
    EXPECT_TRUE(pipeline.Run({text, {}}).ok());
    EXPECT_TRUE(pipeline.Run({character, {}}).ok());
  }
}

TEST(Normalizer, SkipsTextThatCannotChange) {
  EXPECT_FALSE(MayChangeInNfc("plain, Ünïcödé"));
  EXPECT_TRUE(MayChangeInNfc("e\u0301"));
}

TEST(UnicodeVersions, StandInsKeepLengthAndOtherText) {
  std::string stand_ins = "untouched";
  EXPECT_FALSE(ReplaceRecentCharacters("aé😀漢", &stand_ins));
  EXPECT_EQ(stand_ins, "untouched");
  const std::string text = "a\U00031350é\u180E\uA7CB.";
  EXPECT_TRUE(ReplaceRecentCharacters(text, &stand_ins));
  EXPECT_EQ(stand_ins, "a\U00020000é\u200B\u1E00.");
}

}  // namespace
}  // namespace npumoe
