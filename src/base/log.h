// Diagnostics on stderr: one line each, "npumoe: warning: ...". Answers and reports never come
// here; progress bars live in cli.
#pragma once

#include <string_view>

namespace npumoe {

enum class LogLevel { kQuiet, kWarning, kInfo, kDebug };

void SetLogLevel(LogLevel level);
LogLevel GetLogLevel();
void LogWarning(std::string_view message);
void LogInfo(std::string_view message);
void LogDebug(std::string_view message);

}  // namespace npumoe
