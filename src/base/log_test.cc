#include "base/log.h"

#include <gtest/gtest.h>

#include <string>

namespace npumoe {
namespace {

class Log : public ::testing::Test {
 protected:
  ~Log() override { SetLogLevel(before_); }

  std::string Printed(LogLevel level, void (*log)(std::string_view), std::string_view message) {
    SetLogLevel(level);
    ::testing::internal::CaptureStderr();
    log(message);
    return ::testing::internal::GetCapturedStderr();
  }

 private:
  LogLevel before_ = GetLogLevel();
};

TEST_F(Log, PrintsOneLabelledLine) {
  EXPECT_EQ(Printed(LogLevel::kWarning, LogWarning, "disk is slow"),
            "npumoe: warning: disk is slow\n");
}

TEST_F(Log, StaysSilentBelowItsLevel) {
  EXPECT_EQ(Printed(LogLevel::kQuiet, LogWarning, "disk is slow"), "");
  EXPECT_EQ(Printed(LogLevel::kWarning, LogInfo, "loaded"), "");
  EXPECT_EQ(Printed(LogLevel::kInfo, LogDebug, "details"), "");
}

TEST_F(Log, KeepsControlCharactersOutOfTheTerminal) {
  EXPECT_EQ(Printed(LogLevel::kDebug, LogDebug, "a\n\x1b[31mb"), "npumoe: debug: a  [31mb\n");
}

}  // namespace
}  // namespace npumoe
