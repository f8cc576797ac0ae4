// tokenizer.json from the world: every contradiction is an error that names the file and the
// field, never a crash and never an allocation of the size that the file claims.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "model/tokenizer.h"

namespace npumoe {
namespace {

using Json = nlohmann::json;

// A small, correct tokenizer: the letters a to d, "ab", "abc", one special token.
Json SmallTokenizer() {
  return Json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 6, "content": "<end>", "single_word": false, "lstrip": false,
                      "rstrip": false, "normalized": false, "special": true}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": null,
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false,
              "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "ab": 4, "abc": 5},
              "merges": ["a b", "ab c"]}})");
}

Status LoadChanged(const std::function<void(Json&)>& change) {
  Json json = SmallTokenizer();
  change(json);
  return Tokenizer::FromJson(json.dump(), "small.json").status();
}

// The error names the file and everything in `parts`.
void ExpectError(const Status& status, StatusCode code, const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status.message();
  EXPECT_EQ(status.message().rfind("small.json", 0), 0u) << status.message();
  for (const std::string& part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }
}

TEST(HostileTokenizer, TheUnchangedOneLoadsAndEncodes) {
  const auto tokenizer = Tokenizer::FromJson(SmallTokenizer().dump(), "small.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(*(*tokenizer)->Encode("abcab<end>d", SpecialTokens::kParse),
            (std::vector<int32_t>{5, 4, 6, 3}));
}

Json Repeated(const Json& step, size_t count) {
  return {{"type", "Sequence"},
          {"normalizers", std::vector<Json>(count, step)},
          {"pretokenizers", std::vector<Json>(count, step)},
          {"processors", std::vector<Json>(count, step)}};
}

const Json kGrowing = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};

TEST(HostileTokenizer, RefusesMoreStepsThanAnyPipelineNeeds) {
  ExpectError(LoadChanged([](Json& json) { json["normalizer"] = Repeated(kGrowing, 40); }),
              StatusCode::kInvalidInput, {"'normalizers'", "40 steps", "32"});
  const Json split = {{"type", "Digits"}, {"individual_digits", true}};
  ExpectError(LoadChanged([&](Json& json) { json["pre_tokenizer"] = Repeated(split, 33); }),
              StatusCode::kInvalidInput, {"'pretokenizers'", "33 steps", "32"});
}

// Forty doublings made a terabyte of one letter, or of an added token.
TEST(HostileTokenizer, BlamesANormalizerThatGrowsTexts) {
  Json json = SmallTokenizer();
  json["normalizer"] = Repeated(kGrowing, 32);
  const auto tokenizer = Tokenizer::FromJson(json.dump(), "small.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  ExpectError((*tokenizer)->Encode("abc", SpecialTokens::kAsText).status(),
              StatusCode::kInvalidInput, {"'normalizer'", "a text of 3"});
  EXPECT_TRUE((*tokenizer)->Encode("bcd", SpecialTokens::kAsText).ok());
  json["added_tokens"].push_back({{"id", 7}, {"content", "<a>"}, {"normalized", true}});
  ExpectError(Tokenizer::FromJson(json.dump(), "small.json").status(), StatusCode::kInvalidInput,
              {"'normalizer'"});
}

TEST(HostileTokenizer, RefusesAddedTokensThatNormalizeToMoreThanIsAllowed) {
  ExpectError(LoadChanged([](Json& json) {
                json["normalizer"] = Repeated(kGrowing, 2);
                json["added_tokens"].push_back(
                    {{"id", 7}, {"content", std::string(1000, 'a')}, {"normalized", true}});
              }),
              StatusCode::kInvalidInput, {"'added_tokens'", "4000 bytes", "1024"});
}

TEST(HostileTokenizer, RefusesLongTextsInSteps) {
  const std::string longer(65, 'a');
  for (const Json& step :
       {Json{{"type", "Prepend"}, {"prepend", longer}},
        Json{{"type", "Replace"}, {"pattern", {{"String", longer}}}, {"content", ""}},
        Json{{"type", "Replace"}, {"pattern", {{"String", "b"}}}, {"content", longer}}}) {
    ExpectError(LoadChanged([&](Json& json) { json["normalizer"] = step; }),
                StatusCode::kInvalidInput, {"at most 64 bytes"});
  }
  for (const std::string replacement : {"", "ab", "\u2581\u2581"}) {
    ExpectError(LoadChanged([&](Json& json) {
                  json["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", replacement}};
                }),
                StatusCode::kInvalidInput, {"'replacement'", "one character"});
  }
}

// A short file could ask for billions.
TEST(HostileTokenizer, RefusesManySpecialTokensAroundATextBeforeItCollectsThem) {
  ExpectError(LoadChanged([](Json& json) {
                const Json special = {{"SpecialToken", {{"id", "x"}, {"type_id", 0}}}};
                json["post_processor"] = {
                    {"type", "TemplateProcessing"},
                    {"single", std::vector<Json>(2000, special)},
                    {"special_tokens", {{"x", {{"id", "x"}, {"ids", std::vector<int>(2000, 1)}}}}}};
              }),
              StatusCode::kUnsupported, {"'single'", "16"});
}

TEST(HostileTokenizer, RefusesEveryTruncation) {
  const std::string text = SmallTokenizer().dump();
  for (size_t length = 0; length < text.size(); ++length) {
    const auto tokenizer = Tokenizer::FromJson(text.substr(0, length), "small.json");
    ASSERT_FALSE(tokenizer.ok()) << length;
    ExpectError(tokenizer.status(), StatusCode::kInvalidInput, {});
  }
}

TEST(HostileTokenizer, RefusesAMissingFileByItsPath) {
  const auto tokenizer = Tokenizer::Load("/no/such/folder/tokenizer.json");
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_NE(tokenizer.status().message().find("/no/such/folder"), std::string::npos);
}

TEST(HostileTokenizer, RefusesANegativeId) {
  ExpectError(LoadChanged([](Json& j) { j["model"]["vocab"]["a"] = -1; }),
              StatusCode::kInvalidInput, {"vocab", "'a'", "-1"});
}

TEST(HostileTokenizer, RefusesAHugeIdInsteadOfAllocatingForIt) {
  for (const Json& id : {Json(int64_t{1} << 40), Json(4194304), Json(~uint64_t{0}), Json(1e30)}) {
    ExpectError(LoadChanged([&](Json& j) { j["model"]["vocab"]["a"] = id; }),
                StatusCode::kInvalidInput, {"vocab", "'a'"});
  }
}

TEST(HostileTokenizer, RefusesAnIdThatIsNoInteger) {
  for (const Json& id : {Json("0"), Json(0.5), Json(nullptr), Json::array()}) {
    ExpectError(LoadChanged([&](Json& j) { j["model"]["vocab"]["a"] = id; }),
                StatusCode::kInvalidInput, {"vocab", "'a'"});
  }
}

TEST(HostileTokenizer, RefusesTwoTokensOfOneId) {
  ExpectError(LoadChanged([](Json& j) { j["model"]["vocab"]["d"] = 2; }), StatusCode::kInvalidInput,
              {"model.vocab", "the id 2"});
}

TEST(HostileTokenizer, TakesAVocabularyWithHolesAndDecodesThemToNothing) {
  Json json = SmallTokenizer();
  json["model"]["vocab"]["d"] = 1000;
  const auto tokenizer = Tokenizer::FromJson(json.dump(), "small.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ((*tokenizer)->vocab_size(), 1001);
  EXPECT_EQ(*(*tokenizer)->Decode(std::vector<int32_t>{1000, 500, 0}, DecodeSpecial::kKeep), "da");
}

TEST(HostileTokenizer, RefusesAnEmptyVocabulary) {
  ExpectError(LoadChanged([](Json& j) { j["model"]["vocab"] = Json::object(); }),
              StatusCode::kInvalidInput, {"vocab"});
}

TEST(HostileTokenizer, RefusesMergesThatNameUnknownTokens) {
  for (const char* merge : {"a x", "x a", "c d"}) {  // the last makes an unknown token
    ExpectError(LoadChanged([&](Json& j) { j["model"]["merges"][1] = merge; }),
                StatusCode::kInvalidInput, {"model.merges'[1]", "is not a token"});
  }
}

TEST(HostileTokenizer, RefusesMergesThatAreNoPairs) {
  for (const Json& merge : {Json("ab"), Json("a b c"), Json(1), Json::array({"a"}),
                            Json::array({"a", 1}), Json::array({"a", "b", "c"})}) {
    ExpectError(LoadChanged([&](Json& j) { j["model"]["merges"][0] = merge; }),
                StatusCode::kInvalidInput, {"merges'[0]", "two tokens"});
  }
}

TEST(HostileTokenizer, RefusesAnAddedTokenThatContradictsTheVocabulary) {
  ExpectError(LoadChanged([](Json& j) { j["added_tokens"][0]["content"] = "ab"; }),
              StatusCode::kInvalidInput, {"added_tokens", "'ab'", "6", "4"});
  ExpectError(LoadChanged([](Json& j) { j["added_tokens"][0]["id"] = 4; }),
              StatusCode::kInvalidInput, {"added_tokens", "'<end>'", "4"});
}

// Found by fuzzing: users could write the one that is not special.
TEST(HostileTokenizer, RefusesAnAddedTokenThatStandsTwiceWithOtherProperties) {
  const auto repeat = [](Json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); };
  EXPECT_TRUE(LoadChanged(repeat).ok());
  ExpectError(LoadChanged([&](Json& j) {
                repeat(j);
                j["added_tokens"][1]["special"] = false;
              }),
              StatusCode::kInvalidInput, {"added_tokens", "'<end>'", "twice"});
}

TEST(HostileTokenizer, RefusesAddedTokensWithoutContentOrWithABadId) {
  ExpectError(LoadChanged([](Json& j) { j["added_tokens"][0]["content"] = ""; }),
              StatusCode::kInvalidInput, {"added_tokens[0]", "'content'"});
  for (const Json& id : {Json(-1), Json(int64_t{1} << 40), Json("6")}) {
    ExpectError(LoadChanged([&](Json& j) { j["added_tokens"][0]["id"] = id; }),
                StatusCode::kInvalidInput, {"added_tokens[0]", "'id'"});
  }
}

TEST(HostileTokenizer, RefusesAddedTokensOfAbsurdLength) {
  ExpectError(
      LoadChanged([](Json& j) { j["added_tokens"][0]["content"] = std::string(1 << 20, 'x'); }),
      StatusCode::kInvalidInput, {"added_tokens[0]", "'content'", "1024"});
}

TEST(HostileTokenizer, RefusesPatternsThatDoNotCompile) {
  const auto with_pattern = [](const std::string& pattern) {
    return LoadChanged([&](Json& j) {
      j["pre_tokenizer"] = {{"type", "Sequence"},
                            {"pretokenizers",
                             {{{"type", "Split"},
                               {"pattern", {{"Regex", pattern}}},
                               {"behavior", "Isolated"},
                               {"invert", false}},
                              {{"type", "ByteLevel"}, {"use_regex", false}}}}};
    });
  };
  for (const std::string& pattern : {std::string("(a"), std::string("a)"), std::string("[a"),
                                     std::string("\\"), std::string("*"), std::string("a{9,1}"),
                                     std::string("\\p{Nonsense}"), std::string(10000, '(')}) {
    ExpectError(with_pattern(pattern), StatusCode::kInvalidInput, {"pre_tokenizer", "pattern"});
  }
  for (const std::string& pattern :
       {std::string("[a[bc]]"), std::string("\\h+"), std::string("[a-z&&[^b]]"),
        std::string("(?m:a)"), std::string("(?<n>a)"), std::string(1 << 20, 'a')}) {
    ExpectError(with_pattern(pattern), StatusCode::kUnsupported, {"pre_tokenizer", "pattern"});
  }
}

TEST(HostileTokenizer, GivesUpOnAPatternThatExplodes) {
  Json json = SmallTokenizer();
  json["pre_tokenizer"] = Json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "(a|aa|a[ab])+c"}, "behavior": "Isolated",
       "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})");
  const auto tokenizer = Tokenizer::FromJson(json.dump(), "small.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  const auto ids = (*tokenizer)->Encode(std::string(200, 'a') + "dc", SpecialTokens::kParse);
  ASSERT_FALSE(ids.ok());
  ExpectError(ids.status(), StatusCode::kResourceExhausted, {"pattern gave up"});
}

TEST(HostileTokenizer, RefusesByNameWhatItDoesNotDo) {
  const std::vector<std::pair<std::function<void(Json&)>, std::string>> changes = {
      {[](Json& j) { j["model"]["type"] = "Unigram"; }, "'Unigram'"},
      {[](Json& j) { j["model"]["dropout"] = 0.1; }, "'dropout'"},
      {[](Json& j) { j["model"]["unk_token"] = "a"; }, "unk_token"},
      {[](Json& j) { j["model"]["byte_fallback"] = true; }, "byte_fallback"},
      {[](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; }, "'##'"},
      {[](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, "'</w>'"},
      {[](Json& j) { j["normalizer"]["type"] = "Lowercase"; }, "'Lowercase'"},
      {[](Json& j) { j["pre_tokenizer"]["type"] = "Whitespace"; }, "'Whitespace'"},
      {[](Json& j) {
         j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", Json::array()}};
       },
       "an empty list"},
      {[](Json& j) { j["pre_tokenizer"] = nullptr; }, "'decoder'"},
      {[](Json& j) { j["decoder"] = nullptr; }, "'decoder'"},
      {[](Json& j) { j["decoder"]["type"] = "WordPiece"; }, "'WordPiece'"},
      {[](Json& j) {
         j["post_processor"] = {{"type", "BertProcessing"}};
       },
       "'BertProcessing'"},
      {[](Json& j) { j["version"] = "2.0"; }, "'2.0'"},
  };
  for (const auto& [change, named] : changes) {
    const Status status = LoadChanged(change);
    ExpectError(status, StatusCode::kUnsupported, {named, "supported"});
  }
}

TEST(HostileTokenizer, RefusesFieldsOfTheWrongKind) {
  for (const char* field :
       {"model", "pre_tokenizer", "normalizer", "decoder", "added_tokens", "version"}) {
    ExpectError(LoadChanged([&](Json& j) { j[field] = 7; }), StatusCode::kInvalidInput, {field});
  }
  for (const char* text : {"[]", "7", "null", "\"x\"", "{}"}) {
    EXPECT_FALSE(Tokenizer::FromJson(text, "small.json").ok()) << text;
  }
}

TEST(HostileTokenizer, RefusesTextWithAByteThatTheVocabularyLacks) {
  const auto tokenizer = Tokenizer::FromJson(SmallTokenizer().dump(), "small.json");
  ASSERT_TRUE(tokenizer.ok());
  const auto ids = (*tokenizer)->Encode("abe", SpecialTokens::kParse);
  ASSERT_FALSE(ids.ok());
  ExpectError(ids.status(), StatusCode::kInvalidInput, {"byte 101"});
}

}  // namespace
}  // namespace npumoe
