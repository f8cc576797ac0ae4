// GgufMetadata: the key-value pairs of a GGUF file, typed, with getters whose errors name the file,
// the key, what was found and what is allowed. Strings and arrays are views into the file's bytes,
// so nothing here grows with a number that a file merely claims.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "model/gguf/byte_cursor.h"

namespace npumoe {

// The numbers that stand in files.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
const char* Name(GgufType type);      // "u32", "string", ...
size_t BytesOfScalar(GgufType type);  // 0 for strings and arrays

// Elements of one type; numbers as they stand in the file, strings as views.
struct GgufArray {
  GgufType type = GgufType::kU8;
  uint64_t count = 0;
  std::span<const std::byte> numbers;     // empty for strings
  std::vector<std::string_view> strings;  // [count] for strings
};

struct GgufValue {
  GgufType type = GgufType::kU8;
  std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray> value;

  std::string Describe() const;  // "u32 7", "array of 3 string"
};

class GgufMetadata {
 public:
  // Takes `count` pairs from the cursor. `name` (the path) starts every message.
  static Result<GgufMetadata> Read(ByteCursor& cursor, uint64_t count, std::string name);

  bool Has(std::string_view key) const { return Find(key) != nullptr; }
  const GgufValue* Find(std::string_view key) const;  // null: absent
  const std::map<std::string_view, GgufValue>& values() const { return values_; }
  const std::string& name() const { return name_; }

  // Every getter fails for a missing key, another kind of value, or one outside [min, max]; those
  // with a fallback accept a missing key. Integers may have any width and sign.
  Result<int64_t> Int(std::string_view key, int64_t min, int64_t max) const;
  Result<int64_t> Int(std::string_view key, int64_t min, int64_t max, int64_t fallback) const;
  Result<double> Number(std::string_view key, double min, double max) const;
  Result<double> Number(std::string_view key, double min, double max, double fallback) const;
  Result<bool> Bool(std::string_view key, bool fallback) const;
  Result<std::string> String(std::string_view key) const;
  Result<std::string> String(std::string_view key, std::string fallback) const;
  // A missing key gives an empty list.
  Result<std::vector<int64_t>> Ints(std::string_view key, int64_t min, int64_t max) const;
  Result<std::vector<double>> Numbers(std::string_view key) const;
  Result<std::vector<bool>> Bools(std::string_view key) const;
  Result<std::vector<std::string_view>> Strings(std::string_view key) const;

  // "NAME: key 'KEY' is u32 7; WHAT"
  Status KeyError(std::string_view key, const std::string& what) const;

 private:
  std::string name_;
  std::map<std::string_view, GgufValue> values_;
};

}  // namespace npumoe
