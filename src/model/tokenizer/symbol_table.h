// SymbolTable: the ids that BPE starts from. Bytes become the tokens that spell them; characters
// become their own tokens, those that the vocabulary lacks their bytes' ("<0x0A>"), and where it
// lacks these too the unknown token.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

// The byte that a token of byte fallback stands for; -1: it is none.
int ByteOfFallbackToken(std::string_view spelling);

class SymbolTable {
 public:
  // `is_control[id]`: tokens that text never becomes. Fails for an unknown-token rule that could
  // apply to bytes, and for an unknown token that is none.
  static Result<SymbolTable> Build(const BpeSpec& spec, const std::vector<bool>& is_control,
                                   const std::string& name);

  // Appends the symbols of `piece` (valid UTF-8 for characters). Fails for a byte or a character
  // that nothing stands for.
  Status Append(std::string_view piece, std::vector<int32_t>* symbols) const;

 private:
  explicit SymbolTable(std::string name);
  Status AddBytes(const BpeSpec& spec, const std::vector<bool>& is_control);
  Status AddCharacters(const BpeSpec& spec, const std::vector<bool>& is_control);
  Status AppendBytes(std::string_view piece, std::vector<int32_t>* symbols) const;
  Status AppendCharacters(std::string_view piece, std::vector<int32_t>* symbols) const;
  Status AppendUnknown(std::string_view character, bool* was_unknown,
                       std::vector<int32_t>* symbols) const;

  std::string name_;
  BpeSymbols kind_ = BpeSymbols::kBytes;
  std::array<int32_t, 256> byte_ids_;  // -1: none
  std::array<int32_t, 128> ascii_ids_;
  std::unordered_map<char32_t, int32_t> character_ids_;  // beyond ASCII
  bool has_fallback_ = false;
  int32_t unknown_id_ = -1;
  bool fuses_unknown_ = false;
};

}  // namespace npumoe
