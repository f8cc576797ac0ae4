// The current date as templates print it.
#pragma once

#include <chrono>
#include <string>

#include "model/chat_template.h"

namespace npumoe {

// The one that the options name, else this machine's.
std::chrono::year_month_day Today(const ChatOptions& options);

std::string IsoDate(std::chrono::year_month_day date);   // "2025-08-05"
std::string LongDate(std::chrono::year_month_day date);  // "August 05, 2025"

}  // namespace npumoe
