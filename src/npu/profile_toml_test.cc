#include "npu/profile_toml.h"

#include <gtest/gtest.h>

namespace npumoe {
namespace {

using Kind = TomlValue::Kind;

TomlValue Parsed(std::string_view text) {
  Result<TomlValue> value = ParseToml(text, "x.toml");
  EXPECT_TRUE(value.ok()) << value.status().message();
  return value.ok() ? *std::move(value) : TomlValue();
}

std::string RefusalOf(std::string_view text) {
  const Result<TomlValue> value = ParseToml(text, "x.toml");
  return value.ok() ? "accepted" : value.status().message();
}

TEST(ProfileToml, ReadsEveryKindOfValue) {
  const TomlValue file = Parsed(
      "# a comment: \u00b1\n"
      "text = \"a \\\"b\\\" \\t\u0281\"  # behind it\r\n"
      "raw = 'c:\\d'\n"
      "whole = -120\n"
      "broken = +6.25e-2\n"
      "yes = true\n"
      "no = false\n");
  EXPECT_EQ(file.Find("text")->text, "a \"b\" \t\u0281");
  EXPECT_EQ(file.Find("raw")->text, "c:\\d");
  EXPECT_EQ(file.Find("whole")->number, -120);
  EXPECT_EQ(file.Find("broken")->number, 0.0625);
  EXPECT_TRUE(file.Find("yes")->flag);
  EXPECT_EQ(file.Find("no")->kind, Kind::kFlag);
  EXPECT_EQ(file.Find("no")->line, 7);
  EXPECT_EQ(file.Find("other"), nullptr);
}

TEST(ProfileToml, ReadsArraysOverLinesAndTablesInThem) {
  const TomlValue file = Parsed("a = [  # begins\n { x = 1, y = [] },\n\n {}, \"t\",\n]\n");
  const TomlValue& array = *file.Find("a");
  ASSERT_EQ(array.items.size(), 3u);
  EXPECT_EQ(array.items[0].line, 2);
  EXPECT_EQ(array.items[0].Find("x")->number, 1);
  EXPECT_EQ(array.items[0].Find("y")->kind, Kind::kArray);
  EXPECT_EQ(array.items[2].text, "t");
}

TEST(ProfileToml, PutsKeysIntoTheTableOfTheLastHeader) {
  const TomlValue file = Parsed("[a.b]\nx = 1\n[ a ]\ny = 2\n[c]\n");
  EXPECT_EQ(file.Find("a")->Find("b")->Find("x")->number, 1);
  EXPECT_EQ(file.Find("a")->Find("y")->number, 2);
  EXPECT_EQ(file.Find("c")->line, 5);
}

struct Mistake {
  const char* text;
  const char* words;
};

TEST(ProfileToml, RefusesEverythingElseWithItsLine) {
  const std::string deep_value = "a = " + std::string(100000, '[');
  const std::string deep_header = "[a" + std::string(20, '.') + "]";
  for (const Mistake& mistake : std::vector<Mistake>{
           {"\na", "x.toml:2: the '=' behind 'a' is needed; the line ends"},
           {"a = ", "x.toml:1: a text, number, true, false, array or table is needed"},
           {"a = b", "'b' is no value of a profile"},
           {"a = 1 2", "the end of the line is needed; found '2'"},
           {"a = 1\na = 2", "x.toml:2: 'a' stands here twice"},
           {"a.b = 1", "the '=' behind 'a' is needed; found '.'"},
           {"\"a\" = 1", "a name of letters, digits, '_' and '-' is needed; found '\"'"},
           {"= 1", "a name of letters"},
           {"a = 'b", "closing quote"},
           {"a = \"b\\", "backslash"},
           {"a = \"\\u0041\"", "backslash"},
           {"a = \"\"\"b\"\"\"", "several lines"},
           {"a = '''b'''", "several lines"},
           {"a = [1 2]", "',' or ']' is needed; found '2'"},
           {"a = [1,, 2]", "a text, number"},
           {"a = [1", "',' or ']' is needed; the line ends"},
           {"a = {x = 1", "',' or '}' is needed"},
           {"a = {x = 1,}", "a name of letters"},
           {"a = {x = 1, x = 2}", "'x' stands here twice"},
           {"a = {\nx = 1}", "a name of letters"},
           {"[a]\n[a]", "x.toml:2: this table stands here twice"},
           {"a = {}\n[a]", "'a' has a value already"},
           {"a = 1\n[a.b]", "'a' has a value already"},
           {"[[a]]", "a name of letters"},
           {"[a", "the ']' of a table's header is needed"},
           {"[ ]", "a name of letters"},
           {"[.", "a name of letters"},
           {"[a]b = 1", "the end of the line"},
           {"\x01", "found byte 0x01"},
           {"N\u0281 = 1", "found byte 0xca"},
           {"a = 1\r", "found byte 0x0d"},
           {"a = '\x01'", "byte 0x01 may not stand in texts"},
           {"# \x7f", "byte 0x7f may not stand"},
           {"a = '\xc0\x80'", "byte 0xc0"},
           {"a = '\xed\xa0\x80'", "byte 0xed"},
           {"a = '\xf0\x8f\xbf\xbf'", "byte 0xf0"},
           {"a = '\xe2\x82", "byte 0xe2"},
           {deep_value.c_str(), "too deep"},
           {"[a.a.a.a.a.a.a.a.a]", "too deep"},
           {deep_header.c_str(), "a name of letters"},
       }) {
    const std::string refusal = RefusalOf(mistake.text);
    EXPECT_EQ(refusal.rfind("x.toml:", 0), 0u) << mistake.text;
    EXPECT_NE(refusal.find(mistake.words), std::string::npos) << mistake.text << " -> " << refusal;
  }
}

TEST(ProfileToml, RefusesNumbersThatAreNotDecimal) {
  for (const char* number :
       {"0x",   "0x/ru", "0xff",   "0b",  "0b1",  "0o",  "0o7",        "1_000",
        "01",   "-01",   "1.",     ".5",  "1e",   "1e+", "+",          "-",
        "--1",  "+-1",   "1.5.2",  "inf", "+inf", "nan", "1979-05-27", "07:32:00",
        "True", "1e999", "-1e999", "1f",  "1,5.", "e5"}) {
    EXPECT_NE(RefusalOf(std::string("pre =") + number), "accepted") << number;
  }
}

TEST(ProfileToml, RefusesMoreKeysThanAnyProfileHas) {
  std::string text;
  for (int i = 0; i < 256; ++i) text += "k" + std::to_string(i) + " = 1\n";
  EXPECT_EQ(RefusalOf(text), "accepted");
  EXPECT_NE(RefusalOf(text + "more = 1\n").find("at most 256 entries"), std::string::npos);
}

TEST(ProfileToml, RefusesANulByteWherePlainTextWouldEnd) {
  EXPECT_NE(RefusalOf(std::string_view("a = 1\n\0b", 8)).find("found byte 0x00"),
            std::string::npos);
  EXPECT_NE(RefusalOf(std::string_view("a = \"\0\"", 7)).find("byte 0x00"), std::string::npos);
}

}  // namespace
}  // namespace npumoe
