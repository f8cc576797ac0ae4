// ByteCursor: takes little-endian numbers and strings from the front of untrusted bytes. Nothing is
// read beyond the end: what does not fit is no value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace npumoe {

class ByteCursor {
 public:
  explicit ByteCursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  // Little-endian, as every machine that this engine runs on.
  template <class T>
  std::optional<T> Take() {
    static_assert(std::is_arithmetic_v<T>);
    if (remaining() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }
  std::optional<std::span<const std::byte>> TakeBytes(uint64_t count) {
    if (count > remaining()) return std::nullopt;
    const auto taken = bytes_.subspan(position_, static_cast<size_t>(count));
    position_ += taken.size();
    return taken;
  }
  // A length of 8 bytes, then so many bytes.
  std::optional<std::string_view> TakeString() {
    const std::optional<uint64_t> length = Take<uint64_t>();
    if (!length) return std::nullopt;
    const auto text = TakeBytes(*length);
    if (!text) return std::nullopt;
    return std::string_view(reinterpret_cast<const char*>(text->data()), text->size());
  }

 private:
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
};

}  // namespace npumoe
