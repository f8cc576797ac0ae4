#include "calibrate/base64.h"

#include <gtest/gtest.h>

#include <random>

namespace npumoe {
namespace {

std::vector<uint8_t> Bytes(std::string_view text) { return {text.begin(), text.end()}; }

TEST(Base64, WritesTheVectorsOfRfc4648) {
  EXPECT_EQ(EncodeBase64(Bytes("")), "");
  EXPECT_EQ(EncodeBase64(Bytes("f")), "Zg==");
  EXPECT_EQ(EncodeBase64(Bytes("fo")), "Zm8=");
  EXPECT_EQ(EncodeBase64(Bytes("foobar")), "Zm9vYmFy");
}

TEST(Base64, ReadsBackWhatItWrote) {
  std::mt19937 random(7);
  for (size_t size = 0; size < 70; ++size) {
    std::vector<uint8_t> bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    EXPECT_EQ(DecodeBase64(EncodeBase64(bytes)), bytes) << size;
  }
}

TEST(Base64, RefusesWhatItWouldNotWrite) {
  for (std::string_view text :
       {"Z", "Zg=", "Zg", "Zh==", "Zm9=", "Z===", "====", "Zm9v!mFy", "Zg==Zg==", "Zm\n8"}) {
    EXPECT_FALSE(DecodeBase64(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace npumoe
