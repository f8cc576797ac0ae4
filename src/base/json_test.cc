#include "base/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace npumoe {
namespace {

// The message of a refusal, or "accepted".
std::string Refusal(std::string_view text, JsonLimits limits = {}) {
  const Result<Json> json = ParseJson(text, "in.json", limits);
  return json.ok() ? "accepted" : json.status().message();
}

class JsonFields : public ::testing::Test {
 protected:
  template <class Getter>
  std::string Error(const Getter& getter) {
    const auto result = getter(object_);
    return result.ok() ? "accepted" : result.status().message();
  }

  Json json_ = Json::parse(R"({"heads": 4, "theta": 1e6, "big": 18446744073709551615, "tie": true,
      "name": "qwen", "null": null, "list": [1, 2, "x"], "ints": [3, 5], "inner": {"a": 1}})");
  JsonObject object_ = JsonObject::From(json_, "config.json").value();
};

constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

TEST(ParseJson, ReadsValuesOfEveryType) {
  const Result<Json> json = ParseJson(R"( {"a": [1, -2, 2.5, "x\u00e9", true, null, {}]} )", "in");
  ASSERT_TRUE(json.ok()) << json.status().message();
  EXPECT_EQ(*json, Json::parse(R"({"a": [1, -2, 2.5, "xé", true, null, {}]})"));
}

TEST(ParseJson, ReadsAScalarAtTheTop) { EXPECT_EQ(*ParseJson("7", "in"), Json(7)); }

TEST(ParseJson, RefusesEmptyText) {
  EXPECT_EQ(Refusal(""), "in.json: is empty, JSON is needed");
  EXPECT_EQ(Refusal(" \n"), "in.json: is empty, JSON is needed");
}

TEST(ParseJson, RefusesTruncatedTextWithItsPlace) {
  const std::string message = Refusal("{\"a\": [1, 2");
  EXPECT_NE(message.find("in.json: is not valid JSON"), std::string::npos) << message;
  EXPECT_NE(message.find("column 12"), std::string::npos) << message;
}

TEST(ParseJson, RefusesTextAfterTheValue) { EXPECT_NE(Refusal("{} {}"), "accepted"); }

TEST(ParseJson, AcceptsTheDeepestNestingAllowed) {
  EXPECT_EQ(Refusal("[[[]]]", {.max_depth = 3}), "accepted");
}

TEST(ParseJson, RefusesDeeperNesting) {
  EXPECT_EQ(Refusal("[[[[]]]]", {.max_depth = 3}),
            "in.json: JSON is nested deeper than the 3 levels allowed");
}

TEST(ParseJson, SurvivesADepthBomb) {
  const std::string bomb(10'000'000, '[');
  EXPECT_NE(Refusal(bomb).find("deeper than the 64 levels"), std::string::npos);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_NE(Refusal(objects).find("deeper than the 64 levels"), std::string::npos);
}

TEST(ParseJson, RefusesADuplicateKeyByName) {
  EXPECT_EQ(Refusal(R"({"a": {"x": 1, "x": 2}})"),
            "in.json: JSON object has the key 'x' twice; keep one of them");
}

TEST(ParseJson, AcceptsTheSameKeyInDifferentObjects) {
  EXPECT_EQ(Refusal(R"({"a": {"x": 1}, "b": {"x": 2}, "x": [{"x": 3}]})"), "accepted");
}

TEST(ParseJson, RefusesANumberBeyondDouble) {
  EXPECT_NE(Refusal("{\"a\": 1e999}"), "accepted");
  EXPECT_NE(Refusal("{\"a\": NaN}"), "accepted");
}

TEST(ParseJson, RefusesInvalidUtf8) { EXPECT_NE(Refusal("{\"a\": \"\xff\xfe\"}"), "accepted"); }

TEST(ParseJson, RefusesTextBeyondTheSizeLimit) {
  EXPECT_EQ(Refusal("[1, 2, 3]", {.max_bytes = 8}), "in.json: JSON of 9 bytes, allowed are 8");
}

TEST(ReadJsonFile, NamesTheMissingFile) {
  const Result<Json> json = ReadJsonFile("/no/such/config.json");
  EXPECT_EQ(json.status().code(), StatusCode::kNotFound);
  EXPECT_NE(json.status().message().find("/no/such/config.json"), std::string::npos);
}

TEST(JsonObjectFrom, RefusesWhatIsNotAnObject) {
  const Json list = Json::parse("[1, 2]");
  EXPECT_EQ(JsonObject::From(list, "config.json").status().message(),
            "config.json: a JSON object is needed, found a list of 2");
}

TEST_F(JsonFields, GivesValuesOfTheRightType) {
  EXPECT_EQ(*object_.Int("heads", 1, 8), 4);
  EXPECT_EQ(*object_.Number("theta", 1, 1e9), 1e6);
  EXPECT_EQ(*object_.Number("heads", 1, 8), 4.0);
  EXPECT_EQ(*object_.Bool("tie"), true);
  EXPECT_EQ(*object_.String("name"), "qwen");
  EXPECT_EQ(*object_.Ints("ints", 0, 9), (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(*object_.Object("inner")->Int("a", 0, 9), 1);
  EXPECT_EQ((*object_.Array("list"))->size(), 3u);
}

TEST_F(JsonFields, RefusesAnIntegerOutsideItsRange) {
  EXPECT_EQ(Error([](auto& o) { return o.Int("heads", 5, 8); }),
            "config.json: field 'heads': an integer from 5 to 8 is needed, found 4");
}

TEST_F(JsonFields, RefusesAnIntegerBeyondSixtyThreeBits) {
  EXPECT_EQ(Error([](auto& o) { return o.Int("big", 0, kAny); }),
            "config.json: field 'big': an integer of at least 0 is needed, found "
            "18446744073709551615");
}

TEST_F(JsonFields, RefusesAFloatAsAnInteger) {
  EXPECT_NE(Error([](auto& o) { return o.Int("theta", 0, kAny); }), "accepted");
}

TEST_F(JsonFields, RefusesABooleanAsANumber) {
  EXPECT_NE(Error([](auto& o) { return o.Number("tie", 0, 9); }), "accepted");
  EXPECT_NE(Error([](auto& o) { return o.Int("tie", 0, 9); }), "accepted");
}

TEST_F(JsonFields, RefusesAMissingFieldByName) {
  EXPECT_EQ(Error([](auto& o) { return o.String("model_type"); }),
            "config.json: field 'model_type': a string is needed, the field is missing");
}

TEST_F(JsonFields, TakesTheFallbackForMissingAndNull) {
  EXPECT_EQ(*object_.Int("absent", 0, 9, 7), 7);
  EXPECT_EQ(*object_.Number("null", 0, 9, 2.5), 2.5);
  EXPECT_EQ(*object_.Bool("null", true), true);
  EXPECT_EQ(*object_.String("absent", "none"), "none");
  EXPECT_TRUE(object_.Ints("absent", 0, 9)->empty());
}

TEST_F(JsonFields, RefusesAWrongTypeEvenWithAFallback) {
  EXPECT_NE(Error([](auto& o) { return o.Int("name", 0, 9, 7); }), "accepted");
}

TEST_F(JsonFields, NamesTheListElementOfAWrongType) {
  EXPECT_EQ(Error([](auto& o) { return o.Ints("list", 0, 9); }),
            "config.json: field 'list'[2]: an integer from 0 to 9 is needed, found \"x\"");
}

TEST_F(JsonFields, NamesThePathOfANestedObject) {
  const JsonObject inner = *object_.Object("inner");
  EXPECT_EQ(
      inner.Int("b", 0, 9).status().message(),
      "config.json: inner: field 'b': an integer from 0 to 9 is needed, the field is missing");
}

TEST_F(JsonFields, ShortensWhatItShowsOfALongValue) {
  json_["name"] = std::string(5000, 'q');
  EXPECT_LT(object_.Int("name", 0, 9).status().message().size(), 200u);
}

}  // namespace
}  // namespace npumoe
