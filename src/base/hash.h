// Content hashes that tie derived files (calibration, plan, packages) to what they were made
// from. XXH3, 128 bits: detects stale and mixed-up files, is no protection against an attacker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace npumoe {

class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  Hasher& Add(std::span<const std::byte> bytes);
  // Length first, so that ("ab","c") and ("a","bc") differ.
  Hasher& Add(std::string_view text);
  Hasher& Add(int64_t value);
  // 32 lower-case hexadecimal digits.
  std::string Hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace npumoe
