// tokenizer_config.json beside a small tokenizer.json: which tokens begin and end texts, and the
// chat template.
#include "fuzz/fuzz.h"
#include "fuzz/scratch_files.h"
#include "fuzz/tokenizer_checks.h"
#include "model/model_parts.h"

namespace npumoe {
namespace {

// The letters a and b, "ab" and the tokens <s> and </s>.
constexpr std::string_view kTokenizer = R"({
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [
    {"id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
     "normalized": false, "special": true},
    {"id": 4, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
     "normalized": false, "special": true}],
  "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
  "post_processor": null,
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false,
            "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})";

const fuzz::ScratchFolder& Folder() {
  static const fuzz::ScratchFolder folder;
  static const bool made = [] {
    fuzz::WriteFile(folder / "tokenizer.json", kTokenizer);
    return true;
  }();
  fuzz::Require(made, "the folder is made once");
  return folder;
}

void CheckPrompt(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.EncodePrompt(text, SpecialTokens::kParse);
  fuzz::Require(ids.ok(), "a prompt can be encoded: " + ids.status().message());
  for (const int32_t id : *ids) {
    fuzz::Require(id >= 0 && id < tokenizer.vocab_size(), "ids are in the vocabulary");
  }
  fuzz::Require(ids->size() <= text.size() + 2, "a text gets one token before and one behind it");
}

void Read(std::string_view input) {
  const auto path = Folder() / "tokenizer_config.json";
  fuzz::WriteFile(path, input);
  const auto tokenizer = Tokenizer::Load(Folder().path());
  if (tokenizer.ok()) {
    fuzz::CheckTokenizer(**tokenizer, "", "ab</s>ba<s>");
    for (const char* text : {"", "ab", "<s>ab</s>"}) CheckPrompt(**tokenizer, text);
  } else {
    fuzz::Require(tokenizer.status().message().find(path.string()) == 0, "an error names the file");
  }
  const auto source = ReadTemplateSource(Folder().path());
  Model model;
  if (!source.ok()) {
    fuzz::Require(source.status().message().find(path.string()) == 0, "an error names the file");
    return;
  }
  TakeChatTemplate(*source, model);
  fuzz::Require(
      source->empty() || model.chat_template.has_value() || !model.chat_template_problem.empty(),
      "a template is recognised, or its problem is told");
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
