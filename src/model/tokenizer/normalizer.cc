#include "model/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "model/tokenizer/unicode_versions.h"
#include "model/tokenizer/utf8.h"

namespace npumoe {
namespace {

// U+0300, the first character that NFC may move or compose, is CC 80 in UTF-8, and no character
// below it changes (Unicode's NFC_Quick_Check).
constexpr unsigned char kFirstLeadByte = 0xCC;

// Longest decomposition of one character, in characters (Unicode: 18, of U+FDFA), and some room.
constexpr size_t kMaxDecomposed = 32;

int CombiningClass(utf8proc_int32_t code) { return utf8proc_get_property(code)->combining_class; }

void AppendDecomposed(char32_t code, utf8proc_option_t options,
                      std::vector<utf8proc_int32_t>* characters) {
  std::array<utf8proc_int32_t, kMaxDecomposed> buffer;
  int boundary_class = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), buffer.data(),
                                             buffer.size(), options, &boundary_class);
  NPUMOE_CHECK(count > 0 && static_cast<size_t>(count) <= buffer.size());
  characters->insert(characters->end(), buffer.begin(), buffer.begin() + count);
}

// Canonical order: marks between two starters by combining class, equal ones as they stood. Our
// own sort, because utf8proc's exchanges neighbours and is quadratic in the length of a run.
void SortMarks(std::vector<utf8proc_int32_t>* characters) {
  auto run = characters->begin();
  while (run != characters->end()) {
    if (CombiningClass(*run) == 0) {
      ++run;
      continue;
    }
    const auto end =
        std::find_if(run, characters->end(), [](auto code) { return CombiningClass(code) == 0; });
    std::stable_sort(run, end,
                     [](auto a, auto b) { return CombiningClass(a) < CombiningClass(b); });
    run = end;
  }
}

// Sorts, composes and appends what has been collected, and empties it.
void Flush(std::vector<utf8proc_int32_t>* characters, std::string* text) {
  if (characters->empty()) return;
  SortMarks(characters);
  const auto count = utf8proc_normalize_utf32(
      characters->data(), static_cast<utf8proc_ssize_t>(characters->size()),
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  NPUMOE_CHECK(count >= 0);
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    AppendUtf8(static_cast<char32_t>((*characters)[static_cast<size_t>(i)]), text);
  }
  characters->clear();
}

// The usual case in one comparison: nothing can compose with such a character.
bool IsAsciiBeforeAscii(std::string_view text, size_t i) {
  const auto is_ascii = [&](size_t at) { return static_cast<unsigned char>(text[at]) < 0x80; };
  return is_ascii(i) && i + 1 < text.size() && is_ascii(i + 1);
}

// `options`: how characters are decomposed.
std::string Normalize(std::string_view text, utf8proc_option_t options) {
  std::string normalized;
  normalized.reserve(text.size());
  std::vector<utf8proc_int32_t> characters;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = ReadUtf8(text, i);
    // ASCII composes with nothing before it, and a character that Unicode 9 does not know with
    // nothing at all: what was collected is complete.
    const bool is_inert = IsAsciiBeforeAscii(text, i) || IsInertInNormalization(step.code);
    if (is_inert || step.code < 0x80) Flush(&characters, &normalized);
    if (is_inert) {
      normalized.append(text.substr(i, step.bytes));
    } else {
      AppendDecomposed(step.code, options, &characters);
    }
    i += step.bytes;
  }
  Flush(&characters, &normalized);
  return normalized;
}

}  // namespace

bool MayChangeInNfc(std::string_view text) {
  return std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) >= kFirstLeadByte; });
}

bool MayChangeInNfkc(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

std::string Nfc(std::string_view text) { return Normalize(text, UTF8PROC_DECOMPOSE); }

std::string Nfkc(std::string_view text) {
  return Normalize(text, static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT));
}

}  // namespace npumoe
