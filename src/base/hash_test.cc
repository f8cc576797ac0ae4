#include "base/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace npumoe {
namespace {

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(Hasher, GivesThePublishedHashOfNothing) {
  EXPECT_EQ(Hasher().Hex(), "99aa06d3014798d86001c324468d497f");  // XXH3-128, seed 0, no bytes
}

TEST(Hasher, DoesNotDependOnHowBytesAreCut) {
  const std::string text(100000, 'x');
  const std::string_view view = text;
  const std::string whole = Hasher().Add(Bytes(view)).Hex();
  EXPECT_EQ(Hasher().Add(Bytes(view.substr(0, 777))).Add(Bytes(view.substr(777))).Hex(), whole);
}

TEST(Hasher, DependsOnHowTextsAreCut) {
  const auto hash = [](std::string_view a, std::string_view b) {
    return Hasher().Add(a).Add(b).Hex();
  };
  EXPECT_NE(hash("ab", "c"), hash("a", "bc"));
  EXPECT_NE(hash("", "abc"), hash("abc", ""));
}

TEST(Hasher, TellsNumbersApart) {
  EXPECT_NE(Hasher().Add(int64_t{1}).Hex(), Hasher().Add(int64_t{-1}).Hex());
  EXPECT_NE(Hasher().Add(int64_t{0}).Hex(), Hasher().Hex());
}

TEST(Hasher, GoesOnAfterHexWasRead) {
  Hasher hasher;
  hasher.Add("first");
  const std::string middle = hasher.Hex();
  EXPECT_EQ(hasher.Hex(), middle);
  EXPECT_EQ(hasher.Add("second").Hex(), Hasher().Add("first").Add("second").Hex());
}

TEST(Hasher, PrintsThirtyTwoLowerCaseDigits) {
  const std::string hex = Hasher().Add("anything").Hex();
  EXPECT_EQ(hex.size(), 32u);
  EXPECT_EQ(hex.find_first_not_of("0123456789abcdef"), std::string::npos);
}

}  // namespace
}  // namespace npumoe
