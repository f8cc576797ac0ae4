// NPUMOE_CHECK: our own mistakes end the program with the file, line and condition. Never used
// on input from the world; that is what Status is for.
#pragma once

namespace npumoe {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}

#define NPUMOE_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::npumoe::CheckFailed(__FILE__, __LINE__, #condition))
