// TextAssembler: joins what tokens stand for into text that is always whole characters, token by
// token. Decode and StreamDecoder both use it, so they agree.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

class TextAssembler {
 public:
  explicit TextAssembler(const DecoderSpec& spec)
      : kind_(spec.kind), strip_content_(spec.strip_content), strips_left_(spec.strip_start) {}

  // What is complete with the next token; may be empty. `is_byte`: `bytes` is one byte that a
  // token of byte fallback stands for.
  std::string Add(std::string_view bytes, bool is_byte);
  // What is left; broken bytes become U+FFFD. The assembler is then as at the beginning.
  std::string Finish();

 private:
  std::string AddBytes(std::string_view bytes);
  std::string TakeRun();
  std::string WithoutStripped(std::string text);

  DecoderSpec::Kind kind_;
  std::string pending_;  // kByteLevel: an unfinished character; kSpellings: a run of bytes
  std::string strip_content_;
  int strips_left_;
};

}  // namespace npumoe
