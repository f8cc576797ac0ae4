// What every fuzz target shares: its entry point, how it says that a property does not hold, and
// how it cuts one input into several fields.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

// libFuzzer's interface, also called by replay_main.cc.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace npumoe::fuzz {

// Ends the program with the property that does not hold: a finding.
inline void Require(bool holds, const std::string& property) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: does not hold: %s\n", property.c_str());
  std::fflush(nullptr);
  std::abort();
}

inline std::string_view AsText(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Reads every byte: a view that leaves its memory is found by the sanitizer.
inline uint64_t Touch(std::span<const std::byte> bytes) {
  uint64_t sum = 0;
  for (const std::byte value : bytes) sum = sum * 31 + static_cast<uint64_t>(value);
  return sum;
}

// Takes fields off the front of an input. They are separated by a byte that UTF-8 does not have, so
// that a seed is readable text and a field may become longer without moving the others.
class Fields {
 public:
  static constexpr char kSeparator = '\xff';

  explicit Fields(std::string_view rest) : rest_(rest) {}

  bool AtEnd() const { return at_end_; }
  // Empty when there are no more.
  std::string_view Take() {
    const size_t end = rest_.find(kSeparator);
    const std::string_view field = rest_.substr(0, end);
    at_end_ = end == std::string_view::npos;
    rest_ = at_end_ ? std::string_view() : rest_.substr(end + 1);
    return field;
  }

 private:
  std::string_view rest_;
  bool at_end_ = false;
};

}  // namespace npumoe::fuzz
