// Vocabulary: what each id stands for, and the id of a spelling. Ids may have holes; a hole
// stands for nothing and decodes to nothing, as in the reference.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

class Vocabulary {
 public:
  // Fails for two spellings of one id and for an added token whose id is another token's.
  // `decoded_contents`: what each added token decodes to, in the order of `spec.added_tokens`
  // (its normalized content where it is matched normalized).
  static Result<Vocabulary> Build(const TokenizerSpec& spec,
                                  const std::vector<std::string>& decoded_contents,
                                  const std::string& name);

  int32_t size() const { return static_cast<int32_t>(bytes_.size()); }  // largest id + 1
  bool Contains(int32_t id) const { return id >= 0 && id < size(); }
  const std::string& Bytes(int32_t id) const { return bytes_[static_cast<size_t>(id)]; }
  // Whether the token is one byte of byte fallback.
  bool IsByte(int32_t id) const { return Contains(id) && is_byte_[static_cast<size_t>(id)]; }
  bool IsSpecial(int32_t id) const { return Contains(id) && special_[static_cast<size_t>(id)]; }
  std::optional<int32_t> Find(std::string_view spelling) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  Status AddModelTokens(const TokenizerSpec& spec, const std::string& name);
  void SetBytes(int32_t id, const std::string& spelling, const DecoderSpec& decoder);
  Status AddAddedTokens(const TokenizerSpec& spec, const std::vector<std::string>& decoded_contents,
                        const std::string& name);

  std::vector<std::string> bytes_;  // [size]
  std::vector<bool> taken_;         // [size]
  std::vector<bool> special_;       // [size]
  std::vector<bool> is_byte_;       // [size]
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
};

}  // namespace npumoe
