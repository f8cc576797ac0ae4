#include "model/tokenizer/text_assembler.h"

#include "model/tokenizer/utf8.h"

namespace npumoe {

std::string TextAssembler::Add(std::string_view bytes, bool is_byte) {
  if (kind_ == DecoderSpec::Kind::kByteLevel) return AddBytes(bytes);
  if (is_byte) {
    pending_ += bytes;
    return {};
  }
  if (bytes.empty()) return {};
  return WithoutStripped(TakeRun() + std::string(bytes));
}

std::string TextAssembler::Finish() {
  if (kind_ == DecoderSpec::Kind::kSpellings) return WithoutStripped(TakeRun());
  std::string text = ReplaceInvalidUtf8(pending_);
  pending_.clear();
  return text;
}

std::string TextAssembler::AddBytes(std::string_view bytes) {
  pending_ += bytes;
  const size_t complete_bytes = pending_.size() - UnfinishedSuffixBytes(pending_);
  std::string text = ReplaceInvalidUtf8(std::string_view(pending_).substr(0, complete_bytes));
  pending_.erase(0, complete_bytes);
  return text;
}

// As in the reference: where bytes side by side are not valid as a whole, each of them is broken.
// So a run is only decided by the token behind it.
std::string TextAssembler::TakeRun() {
  std::string run = std::move(pending_);
  pending_.clear();
  if (!FirstInvalidUtf8(run)) return run;
  std::string text;
  for (size_t i = 0; i < run.size(); ++i) text += kReplacementCharacter;
  return text;
}

std::string TextAssembler::WithoutStripped(std::string text) {
  size_t begin = 0;
  while (strips_left_ > 0 && begin < text.size()) {
    if (!std::string_view(text).substr(begin).starts_with(strip_content_)) {
      strips_left_ = 0;
      break;
    }
    begin += strip_content_.size();
    --strips_left_;
  }
  return text.substr(begin);
}

}  // namespace npumoe
