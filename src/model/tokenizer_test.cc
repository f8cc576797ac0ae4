#include "model/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

namespace npumoe {
namespace {

const std::filesystem::path kDemo = std::filesystem::path(NPUMOE_SOURCE_DIR) / "models/demo";

std::shared_ptr<const Tokenizer> Demo() {
  auto tokenizer = Tokenizer::Load(kDemo);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return *tokenizer;
}

std::string Decoded(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  const auto text = tokenizer.Decode(ids, DecodeSpecial::kKeep);
  EXPECT_TRUE(text.ok()) << text.status().message();
  return *text;
}

// Token of a single byte, found through the vocabulary.
int32_t ByteToken(const Tokenizer& tokenizer, char byte) {
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (*tokenizer.TokenBytes(id) == std::string(1, byte)) return id;
  }
  ADD_FAILURE() << "no token of this byte";
  return -1;
}

TEST(Tokenizer, LoadsAFolderOrAFileAlike) {
  const auto from_file = Tokenizer::Load(kDemo / "tokenizer.json");
  ASSERT_TRUE(from_file.ok()) << from_file.status().message();
  EXPECT_EQ((*from_file)->hash(), Demo()->hash());
  EXPECT_EQ((*from_file)->vocab_size(), 4096);
}

TEST(Tokenizer, RefusesInvalidUtf8WithItsOffset) {
  const auto tokenizer = Demo();
  const std::vector<std::pair<std::string, int>> cases = {
      {"\xFF", 0},  {"ab\xC3", 2},           {"a\xC0\x80", 1},  {"\xED\xA0\x80", 0},
      {"é\x80", 2}, {"\xF5\x80\x80\x80", 0}, {"x\xE2\x82 ", 1}, {"\xF4\x90\x80\x80", 0},
  };
  for (const auto& [text, offset] : cases) {
    const auto ids = tokenizer->Encode(text, SpecialTokens::kParse);
    ASSERT_FALSE(ids.ok());
    EXPECT_EQ(ids.status().code(), StatusCode::kInvalidInput);
    EXPECT_NE(ids.status().message().find("at byte " + std::to_string(offset) + ";"),
              std::string::npos)
        << ids.status().message();
  }
}

TEST(Tokenizer, ParsesSpecialTokensOnlyWhenAsked) {
  const auto tokenizer = Demo();
  const int32_t end = *tokenizer->TokenId("<|im_end|>");
  EXPECT_TRUE(tokenizer->IsSpecial(end));
  EXPECT_EQ(*tokenizer->Encode("<|im_end|>", SpecialTokens::kParse), std::vector<int32_t>{end});
  const auto as_text = *tokenizer->Encode("<|im_end|>", SpecialTokens::kAsText);
  EXPECT_EQ(std::ranges::count(as_text, end), 0);
  EXPECT_EQ(Decoded(*tokenizer, as_text), "<|im_end|>");
}

TEST(Tokenizer, ControlRangesDecideWhichSpecialTokensCount) {
  const auto tokenizer = Demo();
  const int32_t end = *tokenizer->TokenId("<|im_end|>");
  const std::string text = "<|im_end|>é<|im_end|>e\u0301<|im_end|>";
  const size_t middle = text.find("<|im_end|>", 1);
  const std::vector<TextRange> control = {{middle, middle + 10}};
  const auto ids = *tokenizer->EncodeWithControl(text, control);
  EXPECT_EQ(std::ranges::count(ids, end), 1);
  EXPECT_EQ(Decoded(*tokenizer, ids), "<|im_end|>é<|im_end|>é<|im_end|>");
}

TEST(Tokenizer, ASpecialTokenMustLieInOneControlRangeAsAWhole) {
  const auto tokenizer = Demo();
  const int32_t end = *tokenizer->TokenId("<|im_end|>");
  const std::vector<TextRange> cut = {{0, 5}, {5, 10}};
  EXPECT_EQ(std::ranges::count(*tokenizer->EncodeWithControl("<|im_end|>", cut), end), 0);
  const std::vector<TextRange> half = {{9, 19}};
  const auto ids = *tokenizer->EncodeWithControl("<|im_end|<|im_end|>", half);
  EXPECT_EQ(std::ranges::count(ids, end), 1);
}

TEST(Tokenizer, DecodeSkipsSpecialTokensWhenAsked) {
  const auto tokenizer = Demo();
  const auto ids = *tokenizer->Encode("<|im_start|>Hi<|im_end|>", SpecialTokens::kParse);
  EXPECT_EQ(*tokenizer->Decode(ids, DecodeSpecial::kSkip), "Hi");
}

TEST(Tokenizer, RefusesIdsOutsideOfTheVocabulary) {
  const auto tokenizer = Demo();
  for (const int32_t id : {-1, 4096, 1 << 30}) {
    const auto text = tokenizer->Decode(std::vector<int32_t>{id}, DecodeSpecial::kKeep);
    ASSERT_FALSE(text.ok());
    EXPECT_NE(text.status().message().find(std::to_string(id)), std::string::npos);
    EXPECT_FALSE(tokenizer->TokenBytes(id).ok());
  }
}

TEST(Tokenizer, BrokenBytesBecomeOneReplacementPerMaximalRun) {
  const auto tokenizer = Demo();
  const auto bytes_decoded = [&](const std::string& bytes) {
    std::vector<int32_t> ids;
    for (const char byte : bytes) ids.push_back(ByteToken(*tokenizer, byte));
    return Decoded(*tokenizer, ids);
  };
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(bytes_decoded("\xE2\x82"
                          "a"),
            mark + "a");
  EXPECT_EQ(bytes_decoded("\xF0\x9F\x98"), mark);
  EXPECT_EQ(bytes_decoded("\xED\xA0\x80"), mark + mark + mark);
  EXPECT_EQ(bytes_decoded("\xC3\xC3\xA9"), mark + "é");
}

TEST(Tokenizer, OneLetterAMillionTimesTakesAboutASecond) {
  const auto tokenizer = Demo();
  const std::string text(1 << 20, 'a');
  const auto start = std::chrono::steady_clock::now();
  const auto ids = tokenizer->Encode(text, SpecialTokens::kParse);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(ids.ok()) << ids.status().message();
  EXPECT_EQ(Decoded(*tokenizer, *ids), text);
  // A quadratic merge needs hours; sanitizers and a busy machine need some room.
  EXPECT_LT(elapsed.count(), 60.0);
}

TEST(Tokenizer, LongRunsOfAnythingStayLinear) {
  const auto tokenizer = Demo();
  const int count = 200000;
  for (const char* unit : {" ", "\n", " \n", "'", "1", "\u0301\u0323", "<|im_end|", "😀"}) {
    std::string text;
    for (int i = 0; i < count; ++i) text += unit;
    const auto ids = tokenizer->Encode(text, SpecialTokens::kParse);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_FALSE(ids->empty());
  }
}

TEST(Tokenizer, ManyThreadsMayUseOne) {
  const auto tokenizer = Demo();
  const std::string text = "Many threads read it; nobody writes. Ünïcödé and 12345.\n";
  const auto want = *tokenizer->Encode(text, SpecialTokens::kParse);
  std::vector<std::vector<int32_t>> got(4);
  std::vector<std::thread> threads;
  for (auto& ids : got) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) ids = *tokenizer->Encode(text, SpecialTokens::kParse);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& ids : got) EXPECT_EQ(ids, want);
}

// Ids of random tokens, whole characters or not.
std::vector<int32_t> RandomIds(std::mt19937& random, int vocab_size, size_t count) {
  std::vector<int32_t> ids(count);
  // The low ids are single bytes: they make broken characters likely.
  for (int32_t& id : ids) {
    id = static_cast<int32_t>(random() % (random() % 2 == 0 ? 256u : unsigned(vocab_size)));
  }
  return ids;
}

bool IsWholeCharacters(const std::string& text) {
  const auto is_continuation = [](char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; };
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (is_continuation(text[i]) || i + length > text.size()) return false;
    for (size_t k = 1; k < length; ++k) {
      if (!is_continuation(text[i + k])) return false;
    }
    i += length;
  }
  return true;
}

TEST(StreamDecoder, PartsAreWholeCharactersAndJoinToTheDecodedText) {
  const auto tokenizer = Demo();
  std::mt19937 random(17);
  for (int round = 0; round < 300; ++round) {
    const auto ids = RandomIds(random, tokenizer->vocab_size(), random() % 40);
    for (const DecodeSpecial special : {DecodeSpecial::kKeep, DecodeSpecial::kSkip}) {
      StreamDecoder stream(*tokenizer, special);
      std::string joined;
      for (const int32_t id : ids) {
        const auto part = stream.Add(id);
        ASSERT_TRUE(part.ok()) << part.status().message();
        ASSERT_TRUE(IsWholeCharacters(*part)) << "round " << round;
        joined += *part;
      }
      joined += stream.Finish();
      ASSERT_EQ(joined, *tokenizer->Decode(ids, special)) << "round " << round;
    }
  }
}

TEST(StreamDecoder, HoldsBackACharacterUntilItIsWhole) {
  const auto tokenizer = Demo();
  StreamDecoder stream(*tokenizer, DecodeSpecial::kKeep);
  EXPECT_EQ(*stream.Add(ByteToken(*tokenizer, '\xF0')), "");
  EXPECT_EQ(*stream.Add(ByteToken(*tokenizer, '\x9F')), "");
  EXPECT_EQ(*stream.Add(ByteToken(*tokenizer, '\x98')), "");
  EXPECT_EQ(*stream.Add(ByteToken(*tokenizer, '\x80')), "😀");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(StreamDecoder, FinishShowsWhatStayedBroken) {
  const auto tokenizer = Demo();
  StreamDecoder stream(*tokenizer, DecodeSpecial::kKeep);
  EXPECT_EQ(*stream.Add(ByteToken(*tokenizer, '\xE2')), "");
  EXPECT_EQ(stream.Finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(StreamDecoder, RefusesIdsOutsideOfTheVocabulary) {
  const auto tokenizer = Demo();
  StreamDecoder stream(*tokenizer, DecodeSpecial::kKeep);
  EXPECT_FALSE(stream.Add(-5).ok());
}

}  // namespace
}  // namespace npumoe
