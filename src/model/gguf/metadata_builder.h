// GgufMetadataBuilder: the key-value pairs of a GGUF file that is about to be written, in the order
// in which they are added. A key that is added twice is our mistake.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/gguf/gguf_metadata.h"

namespace npumoe {

class GgufMetadataBuilder {
 public:
  void AddU32(std::string_view key, uint32_t value);
  void AddF32(std::string_view key, float value);
  void AddF64(std::string_view key, double value);
  void AddBool(std::string_view key, bool value);
  void AddString(std::string_view key, std::string_view value);
  void AddStrings(std::string_view key, std::span<const std::string> values);
  void AddI32s(std::string_view key, std::span<const int32_t> values);
  void AddF32s(std::string_view key, std::span<const float> values);
  void AddF64s(std::string_view key, std::span<const double> values);
  void AddBools(std::string_view key, const std::vector<bool>& values);
  // As another file has it, type included.
  void AddCopy(std::string_view key, const GgufValue& value);

  bool Has(std::string_view key) const { return keys_.contains(key); }
  size_t count() const { return keys_.size(); }
  const std::string& bytes() const { return bytes_; }

 private:
  void Begin(std::string_view key, GgufType type);
  void BeginArray(std::string_view key, GgufType type, size_t count);
  void AppendString(std::string_view text);
  template <class T>
  void Append(T value);

  std::string bytes_;
  std::set<std::string, std::less<>> keys_;
};

}  // namespace npumoe
