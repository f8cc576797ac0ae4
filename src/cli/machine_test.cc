#include "cli/machine.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

namespace npumoe::cli {
namespace {

TEST(Machine, FindsTheProfileOfAChipByItsName) {
  const std::vector<std::string> profiles = {"m1", "m2-max", "m4"};
  EXPECT_EQ(ProfileForChip("Apple M2 Max", profiles), "m2-max");
  EXPECT_EQ(ProfileForChip("Apple M1", profiles), "m1");
  EXPECT_EQ(ProfileForChip("Apple M1 Pro", profiles), "");
  EXPECT_EQ(ProfileForChip("AMD EPYC", profiles), "");
  EXPECT_EQ(ProfileForChip("", profiles), "");
}

class WithoutHomeTest : public ::testing::Test {
 protected:
  ~WithoutHomeTest() override { had_home_ ? setenv("HOME", home_.c_str(), 1) : unsetenv("HOME"); }
  std::string Shortened(const char* home, const std::string& text) {
    setenv("HOME", home, 1);
    return WithoutHome(text);
  }

 private:
  const bool had_home_ = getenv("HOME") != nullptr;
  const std::string home_ = had_home_ ? getenv("HOME") : "";
};

TEST_F(WithoutHomeTest, ShortensTheHomeFolderWhereverItStands) {
  EXPECT_EQ(Shortened("/home/ann", "/home/ann"), "~");
  EXPECT_EQ(Shortened("/home/ann/", "a: /home/ann/x, '/home/ann'"), "a: ~/x, '~'");
}

TEST_F(WithoutHomeTest, LeavesFoldersAloneThatOnlyBeginAlike) {
  EXPECT_EQ(Shortened("/home/ann", "/home/anna /home/ann-2 /home/ann.x"),
            "/home/anna /home/ann-2 /home/ann.x");
  EXPECT_EQ(Shortened("/", "/a"), "/a");
  EXPECT_EQ(Shortened("", "/a"), "/a");
}

TEST(Machine, IsDescribed) {
  const MachineFacts machine = DescribeMachine();
  EXPECT_FALSE(machine.system.empty());
  EXPECT_FALSE(machine.architecture.empty());
  EXPECT_GT(machine.processors, 0);
  EXPECT_GT(machine.memory_bytes, 1e8);
}

}  // namespace
}  // namespace npumoe::cli
