#include "model/tokenizer/utf8.h"

#include <algorithm>
#include <cstdint>

namespace npumoe {
namespace {

// Length of the character that `lead` announces and the range its second byte must lie in
// (Unicode 15, table 3-7); bytes = 0: no character begins so.
struct LeadByte {
  size_t bytes;
  uint8_t second_min;
  uint8_t second_max;
};

LeadByte ReadLead(uint8_t lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead < 0xF0) {
    const uint8_t min = lead == 0xE0 ? 0xA0 : 0x80;
    const uint8_t max = lead == 0xED ? 0x9F : 0xBF;
    return {3, min, max};
  }
  if (lead < 0xF5) {
    const uint8_t min = lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t max = lead == 0xF4 ? 0x8F : 0xBF;
    return {4, min, max};
  }
  return {0, 0, 0};
}

size_t AsciiPrefixBytes(std::string_view text, size_t position) {
  size_t end = position;
  while (end < text.size() && static_cast<uint8_t>(text[end]) < 0x80) ++end;
  return end - position;
}

}  // namespace

Utf8Step ReadUtf8(std::string_view text, size_t position) {
  const auto byte_at = [&](size_t i) { return static_cast<uint8_t>(text[position + i]); };
  const size_t available = text.size() - position;
  const LeadByte lead = ReadLead(byte_at(0));
  if (lead.bytes == 0) return {0, 1, false, false};
  if (lead.bytes == 1) return {byte_at(0), 1, true, false};
  char32_t code = byte_at(0) & (0x7Fu >> lead.bytes);
  for (size_t i = 1; i < lead.bytes; ++i) {
    if (i >= available) return {0, i, false, true};
    const uint8_t min = i == 1 ? lead.second_min : 0x80;
    const uint8_t max = i == 1 ? lead.second_max : 0xBF;
    if (byte_at(i) < min || byte_at(i) > max) return {0, i, false, false};
    code = (code << 6) | (byte_at(i) & 0x3Fu);
  }
  return {code, lead.bytes, true, false};
}

std::optional<size_t> FirstInvalidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    i += AsciiPrefixBytes(text, i);
    if (i == text.size()) break;
    const Utf8Step step = ReadUtf8(text, i);
    if (!step.valid) return i;
    i += step.bytes;
  }
  return std::nullopt;
}

void AppendUtf8(char32_t code, std::string* text) {
  const auto append = [&](uint32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    append(code);
  } else if (code < 0x800) {
    append(0xC0 | (code >> 6));
    append(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    append(0xE0 | (code >> 12));
    append(0x80 | ((code >> 6) & 0x3F));
    append(0x80 | (code & 0x3F));
  } else {
    append(0xF0 | (code >> 18));
    append(0x80 | ((code >> 12) & 0x3F));
    append(0x80 | ((code >> 6) & 0x3F));
    append(0x80 | (code & 0x3F));
  }
}

std::string ReplaceInvalidUtf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    const Utf8Step step = ReadUtf8(bytes, i);
    text.append(step.valid ? bytes.substr(i, step.bytes) : kReplacementCharacter);
    i += step.bytes;
  }
  return text;
}

size_t UnfinishedSuffixBytes(std::string_view bytes) {
  // A character has at most four bytes, so an unfinished one at most three.
  for (size_t length = 1; length <= std::min<size_t>(3, bytes.size()); ++length) {
    const Utf8Step step = ReadUtf8(bytes, bytes.size() - length);
    if (step.truncated && step.bytes == length) return length;
    if (step.valid) return 0;
  }
  return 0;
}

}  // namespace npumoe
