#include "model/chat/dates.h"

#include <array>
#include <ctime>

namespace npumoe {
namespace {

std::string Padded(unsigned number) { return (number < 10 ? "0" : "") + std::to_string(number); }

}  // namespace

std::chrono::year_month_day Today(const ChatOptions& options) {
  if (options.today) return *options.today;
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return std::chrono::year(local.tm_year + 1900) /
         std::chrono::month(static_cast<unsigned>(local.tm_mon + 1)) /
         std::chrono::day(static_cast<unsigned>(local.tm_mday));
}

std::string IsoDate(std::chrono::year_month_day date) {
  return std::to_string(static_cast<int>(date.year())) + "-" +
         Padded(static_cast<unsigned>(date.month())) + "-" +
         Padded(static_cast<unsigned>(date.day()));
}

std::string LongDate(std::chrono::year_month_day date) {
  constexpr std::array<const char*, 12> kMonths = {"January",   "February", "March",    "April",
                                                   "May",       "June",     "July",     "August",
                                                   "September", "October",  "November", "December"};
  return std::string(kMonths[(static_cast<unsigned>(date.month()) - 1) % 12]) + " " +
         Padded(static_cast<unsigned>(date.day())) + ", " +
         std::to_string(static_cast<int>(date.year()));
}

}  // namespace npumoe
