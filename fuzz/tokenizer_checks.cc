#include "fuzz/tokenizer_checks.h"

#include "fuzz/fuzz.h"

namespace npumoe::fuzz {
namespace {

void CheckIds(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  for (const int32_t id : ids) {
    Require(id >= 0 && id < tokenizer.vocab_size(), "ids are in the vocabulary");
  }
}

// A part of a stream never shows half of a character.
void RequireWholeCharacters(std::string_view text) {
  size_t missing = 0;  // bytes of the current character that are still to come
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    const bool continues = (byte & 0xC0) == 0x80;
    Require(continues == (missing > 0), "streamed text is whole characters");
    if (continues) {
      --missing;
    } else {
      missing = byte < 0x80 ? 0 : byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
    }
  }
  Require(missing == 0, "streamed text ends with a whole character");
}

std::string CheckDecode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                        DecodeSpecial special) {
  const Result<std::string> text = tokenizer.Decode(ids, special);
  Require(text.ok(), "ids of the vocabulary can be decoded: " + text.status().message());
  StreamDecoder stream(tokenizer, special);
  std::string joined;
  for (const int32_t id : ids) {
    const Result<std::string> part = stream.Add(id);
    Require(part.ok(), "ids of the vocabulary can be streamed: " + part.status().message());
    RequireWholeCharacters(*part);
    joined += *part;
  }
  joined += stream.Finish();
  Require(joined == *text, "streamed text is the decoded text");
  return *text;
}

// Ids that no encoder would give in this order, so that characters are torn apart.
std::vector<int32_t> Shuffled(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  uint32_t state = 1;
  for (const char c : text.substr(0, 100)) {
    state = state * 1664525u + static_cast<uint8_t>(c) + 1013904223u;
    ids.push_back(
        static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(tokenizer.vocab_size())));
  }
  return ids;
}

}  // namespace

void CheckTokenizer(const Tokenizer& tokenizer, const std::string& unknown_token,
                    std::string_view text) {
  Require(tokenizer.vocab_size() > 0, "a tokenizer has tokens");
  const std::vector<int32_t> shuffled = Shuffled(tokenizer, text);
  for (const DecodeSpecial special : {DecodeSpecial::kKeep, DecodeSpecial::kSkip}) {
    CheckDecode(tokenizer, shuffled, special);
  }
  const auto as_text = tokenizer.Encode(text, SpecialTokens::kAsText);
  const auto parsed = tokenizer.Encode(text, SpecialTokens::kParse);
  if (as_text.ok()) {
    CheckIds(tokenizer, *as_text);
    const std::optional<int32_t> unknown = tokenizer.TokenId(unknown_token);
    for (const int32_t id : *as_text) {
      Require(!tokenizer.IsSpecial(id) || id == unknown, "text never becomes a control token");
    }
    CheckDecode(tokenizer, *as_text, DecodeSpecial::kKeep);
  }
  if (parsed.ok()) {
    CheckIds(tokenizer, *parsed);
    CheckDecode(tokenizer, *parsed, DecodeSpecial::kKeep);
    CheckDecode(tokenizer, *parsed, DecodeSpecial::kSkip);
  }
  const auto nothing_is_control = tokenizer.EncodeWithControl(text, {});
  Require(nothing_is_control.ok() == as_text.ok(), "both ways to encode text refuse the same");
  if (as_text.ok()) Require(*nothing_is_control == *as_text, "text has one encoding");
}

}  // namespace npumoe::fuzz
