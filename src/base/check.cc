#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace npumoe {

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "npumoe: internal error: %s:%d: check failed: %s\n", file, line, condition);
  std::fflush(nullptr);
  std::abort();
}

}  // namespace npumoe
