#include "model/tokenizer.h"

namespace npumoe {

Result<std::string> StreamDecoder::Add(int32_t id) {
  if (special_ == DecodeSpecial::kSkip && tokenizer_.IsSpecial(id)) return std::string();
  NPUMOE_ASSIGN_OR_RETURN(const std::string bytes, tokenizer_.TokenBytes(id));
  return assembler_.Add(bytes, tokenizer_.IsFallbackByte(id));
}

std::string StreamDecoder::Finish() { return assembler_.Finish(); }

}  // namespace npumoe
