#include "model/tokenizer.h"
#include "model/tokenizer/utf8.h"

namespace npumoe {

Result<std::string> StreamDecoder::Add(int32_t id) {
  if (special_ == DecodeSpecial::kSkip && tokenizer_.IsSpecial(id)) return std::string();
  NPUMOE_ASSIGN_OR_RETURN(const std::string bytes, tokenizer_.TokenBytes(id));
  pending_ += bytes;
  const size_t complete_bytes = pending_.size() - UnfinishedSuffixBytes(pending_);
  std::string text = ReplaceInvalidUtf8(std::string_view(pending_).substr(0, complete_bytes));
  pending_.erase(0, complete_bytes);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text = ReplaceInvalidUtf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace npumoe
