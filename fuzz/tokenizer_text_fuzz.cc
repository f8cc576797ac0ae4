// Any text, encoded by the tokenizer of models/demo: byte-level BPE whose vocabulary spells every
// byte, so that decoding gives the text back (in NFC, which this tokenizer's normalizer makes).
#include "fuzz/fuzz.h"
#include "fuzz/tokenizer_checks.h"

namespace npumoe {
namespace {

const Tokenizer& Demo() {
  static const auto tokenizer = Tokenizer::Load(NPUMOE_SOURCE_DIR "/models/demo");
  fuzz::Require(tokenizer.ok(), "models/demo has a tokenizer: " + tokenizer.status().message());
  return **tokenizer;
}

bool IsAscii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<uint8_t>(c) >= 0x80) return false;
  }
  return true;
}

void Read(std::string_view input) {
  fuzz::CheckTokenizer(Demo(), "", input);
  for (const SpecialTokens special : {SpecialTokens::kParse, SpecialTokens::kAsText}) {
    const auto ids = Demo().Encode(input, special);
    if (!ids.ok()) {
      fuzz::Require(ids.status().message().find("at byte") != std::string::npos,
                    "only broken UTF-8 is refused, with its place");
      continue;
    }
    const auto text = Demo().Decode(*ids, DecodeSpecial::kKeep);
    fuzz::Require(text.ok(), "own ids can be decoded");
    if (IsAscii(input)) fuzz::Require(*text == input, "ASCII comes back as it was");
    const auto again = Demo().Encode(*text, special);
    fuzz::Require(again.ok(), "decoded text can be encoded");
    const auto text_again = Demo().Decode(*again, DecodeSpecial::kKeep);
    fuzz::Require(text_again.ok() && *text_again == *text, "decoded text comes back as it is");
  }
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
