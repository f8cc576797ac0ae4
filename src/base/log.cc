#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <string>

namespace npumoe {
namespace {

// The one switch of the process that is not passed around: diagnostics come from every room.
std::atomic<LogLevel> log_level{LogLevel::kWarning};

// One write a line, so that lines of several threads do not mix; control characters that a file
// smuggled into a message cannot forge lines or colours.
void Write(LogLevel level, std::string_view label, std::string_view message) {
  if (level > log_level.load(std::memory_order_relaxed)) return;
  std::string line = "npumoe: ";
  line.append(label).append(": ");
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    line += byte < 0x20 || byte == 0x7f ? ' ' : c;
  }
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

void SetLogLevel(LogLevel level) { log_level.store(level, std::memory_order_relaxed); }
LogLevel GetLogLevel() { return log_level.load(std::memory_order_relaxed); }
void LogWarning(std::string_view message) { Write(LogLevel::kWarning, "warning", message); }
void LogInfo(std::string_view message) { Write(LogLevel::kInfo, "info", message); }
void LogDebug(std::string_view message) { Write(LogLevel::kDebug, "debug", message); }

}  // namespace npumoe
