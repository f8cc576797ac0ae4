// tokenizer.json, and behind it (Fields) a text to encode. The file may be as odd as it likes: what
// loads must keep the promises of every tokenizer.
#include "fuzz/fuzz.h"
#include "fuzz/tokenizer_checks.h"

namespace npumoe {
namespace {

constexpr char kName[] = "tokenizer.json";
constexpr std::string_view kText =
    "Hello, world! It's 12345\n\n  a\tb <end> \xC3\xA9\x65\xCC\x81 \xE6\x97\xA5\xE6\x9C\xAC "
    "\xF0\x9F\x98\x80 <|im_end|>";

void Read(std::string_view input) {
  fuzz::Fields fields(input);
  const auto tokenizer = Tokenizer::FromJson(fields.Take(), kName);
  if (!tokenizer.ok()) {
    fuzz::Require(tokenizer.status().message().find(kName) == 0, "an error names the file");
    return;
  }
  fuzz::CheckTokenizer(**tokenizer, kText);
  fuzz::CheckTokenizer(**tokenizer, fields.Take());
  // As a chat makes it: one user's text, all of it a spelling of some token.
  for (int32_t id = 0; id < std::min((*tokenizer)->vocab_size(), 50); ++id) {
    const auto spelling = (*tokenizer)->TokenBytes(id);
    fuzz::Require(spelling.ok(), "every id of the vocabulary has bytes");
    if ((*tokenizer)->IsSpecial(id)) fuzz::CheckTokenizer(**tokenizer, *spelling + "a" + *spelling);
  }
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
