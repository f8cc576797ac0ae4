// A table for people: columns that align, numbers to the right.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace npumoe::cli {

enum class Align { kLeft, kRight };

class Table {
 public:
  explicit Table(std::vector<std::string> header, std::vector<Align> alignment = {});
  void AddRow(std::vector<std::string> cells);
  std::string ToString() const;  // ends with a newline

 private:
  std::vector<std::string> header_;
  std::vector<Align> alignment_;  // kLeft for the first column, kRight after it, by default
  std::vector<std::vector<std::string>> rows_;
};

// Columns a text takes on a terminal: code points, not bytes.
size_t DisplayWidth(const std::string& text);

std::string FormatMs(double ms);          // "12.3 ms", "1.25 s"
std::string FormatBytes(double bytes);    // "9.4 MB" (10^6)
std::string FormatPercent(double share);  // "12.5%"
std::string FormatCount(int64_t count);   // "12,345"
std::string FormatJoules(double joules);  // "1.2 mJ"

}  // namespace npumoe::cli
