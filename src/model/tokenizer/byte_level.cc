#include "model/tokenizer/byte_level.h"

#include <array>

#include "model/tokenizer/utf8.h"

namespace npumoe {
namespace {

// Printable Latin-1 characters spell themselves (GPT-2's choice, which every byte-level
// vocabulary keeps); the others are spelled U+0100, U+0101, ... in the order of their bytes.
constexpr bool SpellsItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
         (byte >= 0xAE && byte <= 0xFF);
}

constexpr int kShiftedBase = 0x100;
constexpr int kShiftedCount = 68;  // 256 bytes less the 188 that spell themselves

constexpr std::array<uint8_t, kShiftedCount> MakeShifted() {
  std::array<uint8_t, kShiftedCount> bytes{};
  int next = 0;
  for (int byte = 0; byte < 256; ++byte) {
    if (!SpellsItself(byte)) bytes[next++] = static_cast<uint8_t>(byte);
  }
  return bytes;
}

constexpr std::array<uint8_t, kShiftedCount> kShifted = MakeShifted();

}  // namespace

std::optional<uint8_t> ByteOfAlphabet(char32_t code) {
  if (code < kShiftedBase) {
    if (!SpellsItself(static_cast<int>(code))) return std::nullopt;
    return static_cast<uint8_t>(code);
  }
  if (code >= kShiftedBase + kShiftedCount) return std::nullopt;
  return kShifted[code - kShiftedBase];
}

std::optional<std::string> BytesOfSpelling(std::string_view spelling) {
  std::string bytes;
  bytes.reserve(spelling.size());
  for (size_t i = 0; i < spelling.size();) {
    const Utf8Step step = ReadUtf8(spelling, i);
    const std::optional<uint8_t> byte = step.valid ? ByteOfAlphabet(step.code) : std::nullopt;
    if (!byte) return std::nullopt;
    bytes.push_back(static_cast<char>(*byte));
    i += step.bytes;
  }
  return bytes;
}

}  // namespace npumoe
