#include "graph/names.h"

#include <gtest/gtest.h>

namespace npumoe {
namespace {

TEST(Names, TakeLettersDigitsUnderscoreAndAt) { EXPECT_TRUE(IsValidName("_gate_17@2")); }

TEST(Names, MustNotStartWithADigit) { EXPECT_FALSE(IsValidName("7x")); }

TEST(Names, MustNotBeEmpty) { EXPECT_FALSE(IsValidName("")); }

TEST(Names, MustNotHoldPathsOrSpaces) {
  for (const char* name : {"a/b", "a b", "a-b", "a.b", "\xc3\xa9"}) {
    EXPECT_FALSE(IsValidName(name)) << name;
  }
}

TEST(Names, EndAtTheirLongestLength) {
  EXPECT_TRUE(IsValidName(std::string(kMaxNameBytes, 'a')));
  EXPECT_FALSE(IsValidName(std::string(kMaxNameBytes + 1, 'a')));
}

TEST(Names, AreShownShortAndPrintable) {
  EXPECT_EQ(Quoted("a\x1b-\n"), "'a?-?'");
  EXPECT_EQ(Quoted(std::string(500, 'a')).size(), 80 + std::string("'...'").size());
}

}  // namespace
}  // namespace npumoe
