#include "model/tokenizer/unicode_versions.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "model/tokenizer/utf8.h"

namespace npumoe {
namespace {

enum Category {
  kUpper,
  kLower,
  kModifier,
  kLetter,
  kHan,
  kMark,
  kDigit,
  kNumber,
  kPunctuation,
  kSymbol,
  kFormat
};

// Characters of that category since Unicode 14 or before, of three and of four bytes; 0: the
// table below needs none.
struct StandIn {
  char32_t three_bytes;
  char32_t four_bytes;
};
constexpr std::array<StandIn, 11> kStandIns = {{
    {0x1E00, 0x10400},  // upper-case letters: Latin, Deseret
    {0x1E01, 0x10428},  // lower-case letters: Latin, Deseret
    {0, 0x16B40},       // modifier letters: Pahawh Hmong
    {0, 0x13000},       // other letters: an Egyptian hieroglyph
    {0, 0x20000},       // Han
    {0x1AB0, 0x101FD},  // marks
    {0, 0x104A0},       // decimal digits: Osmanya
    {0, 0x10107},       // other numbers: Aegean
    {0x2016, 0x10100},  // punctuation: double vertical line, Aegean
    {0x2603, 0x1D100},  // symbols: a snowman, musical notation
    {0x200B, 0},        // format characters: zero-width space
}};

struct RecentRange {
  char32_t first;
  char32_t last;
  Category category;
};

// U+180E, and what Unicode 15, 15.1 and 16 added.
constexpr RecentRange kRecent[] = {
    {0x897, 0x897, kMark},
    {0xCF3, 0xCF3, kMark},
    {0xECE, 0xECE, kMark},
    {0x180E, 0x180E, kFormat},
    {0x1B4E, 0x1B4F, kPunctuation},
    {0x1B7F, 0x1B7F, kPunctuation},
    {0x1C89, 0x1C89, kUpper},
    {0x1C8A, 0x1C8A, kLower},
    {0x2427, 0x2429, kSymbol},
    {0x2FFC, 0x2FFF, kSymbol},
    {0x31E4, 0x31E5, kSymbol},
    {0x31EF, 0x31EF, kSymbol},
    {0xA7CB, 0xA7CC, kUpper},
    {0xA7CD, 0xA7CD, kLower},
    {0xA7DA, 0xA7DA, kUpper},
    {0xA7DB, 0xA7DB, kLower},
    {0xA7DC, 0xA7DC, kUpper},
    {0x105C0, 0x105F3, kLetter},
    {0x10D40, 0x10D49, kDigit},
    {0x10D4A, 0x10D4D, kLetter},
    {0x10D4E, 0x10D4E, kModifier},
    {0x10D4F, 0x10D4F, kLetter},
    {0x10D50, 0x10D65, kUpper},
    {0x10D69, 0x10D6D, kMark},
    {0x10D6E, 0x10D6E, kPunctuation},
    {0x10D6F, 0x10D6F, kModifier},
    {0x10D70, 0x10D85, kLower},
    {0x10D8E, 0x10D8F, kSymbol},
    {0x10EC2, 0x10EC4, kLetter},
    {0x10EFC, 0x10EFF, kMark},
    {0x1123F, 0x11240, kLetter},
    {0x11241, 0x11241, kMark},
    {0x11380, 0x11389, kLetter},
    {0x1138B, 0x1138B, kLetter},
    {0x1138E, 0x1138E, kLetter},
    {0x11390, 0x113B5, kLetter},
    {0x113B7, 0x113B7, kLetter},
    {0x113B8, 0x113C0, kMark},
    {0x113C2, 0x113C2, kMark},
    {0x113C5, 0x113C5, kMark},
    {0x113C7, 0x113CA, kMark},
    {0x113CC, 0x113D0, kMark},
    {0x113D1, 0x113D1, kLetter},
    {0x113D2, 0x113D2, kMark},
    {0x113D3, 0x113D3, kLetter},
    {0x113D4, 0x113D5, kPunctuation},
    {0x113D7, 0x113D8, kPunctuation},
    {0x113E1, 0x113E2, kMark},
    {0x116D0, 0x116E3, kDigit},
    {0x11B00, 0x11B09, kPunctuation},
    {0x11BC0, 0x11BE0, kLetter},
    {0x11BE1, 0x11BE1, kPunctuation},
    {0x11BF0, 0x11BF9, kDigit},
    {0x11F00, 0x11F01, kMark},
    {0x11F02, 0x11F02, kLetter},
    {0x11F03, 0x11F03, kMark},
    {0x11F04, 0x11F10, kLetter},
    {0x11F12, 0x11F33, kLetter},
    {0x11F34, 0x11F3A, kMark},
    {0x11F3E, 0x11F42, kMark},
    {0x11F43, 0x11F4F, kPunctuation},
    {0x11F50, 0x11F59, kDigit},
    {0x11F5A, 0x11F5A, kMark},
    {0x1342F, 0x1342F, kLetter},
    {0x13440, 0x13440, kMark},
    {0x13441, 0x13446, kLetter},
    {0x13447, 0x13455, kMark},
    {0x13460, 0x143FA, kLetter},
    {0x16100, 0x1611D, kLetter},
    {0x1611E, 0x1612F, kMark},
    {0x16130, 0x16139, kDigit},
    {0x16D40, 0x16D42, kModifier},
    {0x16D43, 0x16D6A, kLetter},
    {0x16D6B, 0x16D6C, kModifier},
    {0x16D6D, 0x16D6F, kPunctuation},
    {0x16D70, 0x16D79, kDigit},
    {0x18CFF, 0x18CFF, kLetter},
    {0x1B132, 0x1B132, kLetter},
    {0x1B155, 0x1B155, kLetter},
    {0x1CC00, 0x1CCEF, kSymbol},
    {0x1CCF0, 0x1CCF9, kDigit},
    {0x1CD00, 0x1CEB3, kSymbol},
    {0x1D2C0, 0x1D2D3, kNumber},
    {0x1DF25, 0x1DF2A, kLower},
    {0x1E030, 0x1E06D, kModifier},
    {0x1E08F, 0x1E08F, kMark},
    {0x1E4D0, 0x1E4EA, kLetter},
    {0x1E4EB, 0x1E4EB, kModifier},
    {0x1E4EC, 0x1E4EF, kMark},
    {0x1E4F0, 0x1E4F9, kDigit},
    {0x1E5D0, 0x1E5ED, kLetter},
    {0x1E5EE, 0x1E5EF, kMark},
    {0x1E5F0, 0x1E5F0, kLetter},
    {0x1E5F1, 0x1E5FA, kDigit},
    {0x1E5FF, 0x1E5FF, kPunctuation},
    {0x1F6DC, 0x1F6DC, kSymbol},
    {0x1F774, 0x1F776, kSymbol},
    {0x1F77B, 0x1F77F, kSymbol},
    {0x1F7D9, 0x1F7D9, kSymbol},
    {0x1F8B2, 0x1F8BB, kSymbol},
    {0x1F8C0, 0x1F8C1, kSymbol},
    {0x1FA75, 0x1FA77, kSymbol},
    {0x1FA87, 0x1FA89, kSymbol},
    {0x1FA8F, 0x1FA8F, kSymbol},
    {0x1FAAD, 0x1FAAF, kSymbol},
    {0x1FABB, 0x1FABF, kSymbol},
    {0x1FAC6, 0x1FAC6, kSymbol},
    {0x1FACE, 0x1FACF, kSymbol},
    {0x1FADA, 0x1FADC, kSymbol},
    {0x1FADF, 0x1FADF, kSymbol},
    {0x1FAE8, 0x1FAE9, kSymbol},
    {0x1FAF7, 0x1FAF8, kSymbol},
    {0x1FBCB, 0x1FBEF, kSymbol},
    {0x2B739, 0x2B739, kHan},
    {0x2EBF0, 0x2EE5D, kHan},
    {0x31350, 0x323AF, kHan},
};

struct Range {
  char32_t first;
  char32_t last;
};

// Unicode 10 to 14: new characters that reorder, decompose (also for compatibility) or compose.
constexpr Range kInert[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},
    {0xA82C, 0xA82C},   {0xAB69, 0xAB69},   {0x10781, 0x10785}, {0x10787, 0x107B0},
    {0x107B2, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11935, 0x11935}, {0x11938, 0x11938},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x16FF0, 0x16FF1}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9},
};

template <class T, size_t N>
const T* FindRange(const T (&ranges)[N], char32_t code) {
  const T* found = std::ranges::lower_bound(ranges, code, {}, &T::last);
  return found != std::end(ranges) && found->first <= code ? found : nullptr;
}

// The first bytes of the table's characters are of three or four bytes.
constexpr size_t kMinBytes = 2;

}  // namespace

bool ReplaceRecentCharacters(std::string_view text, std::string* stand_ins) {
  bool found = false;
  for (size_t i = 0; i < text.size();) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      ++i;
      continue;
    }
    const Utf8Step step = ReadUtf8(text, i);
    const RecentRange* range = step.bytes > kMinBytes ? FindRange(kRecent, step.code) : nullptr;
    if (range) {
      if (!found) *stand_ins = text;
      found = true;
      const StandIn& stand_in = kStandIns[range->category];
      std::string bytes;
      AppendUtf8(step.bytes == 3 ? stand_in.three_bytes : stand_in.four_bytes, &bytes);
      stand_ins->replace(i, step.bytes, bytes);
    }
    i += step.bytes;
  }
  return found;
}

bool IsInertInNormalization(char32_t code) {
  return FindRange(kInert, code) != nullptr || FindRange(kRecent, code) != nullptr;
}

}  // namespace npumoe
