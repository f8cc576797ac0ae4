// tokenizer.json, and behind it (Fields) a text to encode. The file may be as odd as it likes: what
// loads must keep the promises of every tokenizer.
#include <algorithm>

#include "fuzz/fuzz.h"
#include "fuzz/tokenizer_checks.h"
#include "model/tokenizer/tokenizer_json.h"

namespace npumoe {
namespace {

constexpr int kTokensTried = 50;
constexpr char kName[] = "tokenizer.json";
constexpr std::string_view kText =
    "Hello, world! It's 12345\n\n  a\tb <end> \xC3\xA9\x65\xCC\x81 \xE6\x97\xA5\xE6\x9C\xAC "
    "\xF0\x9F\x98\x80 <|im_end|>";

// The same tokenizer when its own writer's file is read.
void CheckWrittenAgain(const Tokenizer& tokenizer, const TokenizerSpec& spec) {
  const std::string written = TokenizerJsonText(spec);
  const auto again = Tokenizer::FromJson(written, "written.json");
  fuzz::Require(again.ok(), "what was written can be read: " + again.status().message());
  fuzz::Require((*again)->vocab_size() == tokenizer.vocab_size(), "the vocabulary is written");
  for (const SpecialTokens special : {SpecialTokens::kParse, SpecialTokens::kAsText}) {
    const auto ids = tokenizer.Encode(kText, special);
    const auto same = (*again)->Encode(kText, special);
    fuzz::Require(ids.ok() == same.ok(), "the written tokenizer refuses the same");
    if (ids.ok()) fuzz::Require(*ids == *same, "the written tokenizer gives the same ids");
  }
}

void Read(std::string_view input) {
  fuzz::Fields fields(input);
  const std::string_view file = fields.Take();
  const auto loaded = Tokenizer::FromJson(file, kName);
  if (!loaded.ok()) {
    fuzz::Require(loaded.status().message().find(kName) == 0, "an error names the file");
    return;
  }
  const Tokenizer& tokenizer = **loaded;
  const auto spec = ParseTokenizerJson(file, kName);
  fuzz::Require(spec.ok(), "what loads can be parsed");
  const std::string& unknown = spec->bpe.unknown_token;
  CheckWrittenAgain(tokenizer, *spec);
  fuzz::CheckTokenizer(tokenizer, unknown, kText);
  fuzz::CheckTokenizer(tokenizer, unknown, fields.Take());
  // As a chat makes it: one user's text that spells nothing but a token.
  for (int32_t id = 0; id < std::min(tokenizer.vocab_size(), kTokensTried); ++id) {
    const auto spelling = tokenizer.TokenBytes(id);
    fuzz::Require(spelling.ok(), "every id of the vocabulary has bytes");
    if (tokenizer.IsSpecial(id)) {
      fuzz::CheckTokenizer(tokenizer, unknown, *spelling + "a" + *spelling);
    }
  }
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
