// A GGUF file: directory and metadata, and what is made of them: config, weights, tokenizer, end
// tokens. Every byte of every tensor can be read; keys written again read the same.
#include "fuzz/fuzz.h"
#include "fuzz/tokenizer_checks.h"
#include "model/gguf/gguf_config.h"
#include "model/gguf/gguf_file.h"
#include "model/gguf/gguf_model.h"
#include "model/gguf/gguf_tokenizer.h"
#include "model/gguf/gguf_weights.h"
#include "model/gguf/hub_config.h"
#include "model/gguf/metadata_builder.h"
#include "model/tokenizer/tokenizer_json.h"

namespace npumoe {
namespace {

constexpr char kName[] = "input.gguf";

void CheckTensors(const GgufFile& file) {
  for (const auto& [name, view] : file.tensors()) {
    fuzz::Require(!name.empty() && view.shape.elements() > 0, "tensors have names and elements");
    fuzz::Touch({view.data, view.bytes()});
  }
}

// All keys, written by our own writer into a file without tensors.
void CheckMetadata(const GgufMetadata& metadata) {
  GgufMetadataBuilder builder;
  for (const auto& [key, value] : metadata.values()) builder.AddCopy(key, value);
  const std::string& bytes = builder.bytes();
  ByteCursor cursor(std::as_bytes(std::span(bytes)));
  const auto again = GgufMetadata::Read(cursor, builder.count(), kName);
  fuzz::Require(again.ok(), "written metadata can be read: " + again.status().message());
  fuzz::Require(cursor.remaining() == 0, "written metadata is read to its end");
  GgufMetadataBuilder second;
  for (const auto& [key, value] : again->values()) second.AddCopy(key, value);
  fuzz::Require(second.bytes() == bytes, "metadata is written the same way twice");
}

// A config says the same after it was written as metadata, up to what stands in tensors.
void CheckConfig(const GgufFile& file) {
  const auto config = ConfigFromGguf(file.metadata(), file.tensors());
  if (!config.ok()) {
    fuzz::Require(config.status().message().find(kName) != std::string::npos,
                  "an error names the file: " + config.status().message());
    return;
  }
  fuzz::Require(config->TotalParameters() >= config->ActiveParameters(),
                "no token uses more parameters than there are");
  GgufMetadataBuilder builder;
  AddConfigToGguf(*config, builder);
  ByteCursor cursor(std::as_bytes(std::span(builder.bytes())));
  const auto metadata = GgufMetadata::Read(cursor, builder.count(), kName);
  fuzz::Require(metadata.ok(), "a written config can be read: " + metadata.status().message());
  const auto again = ConfigFromGguf(*metadata, file.tensors());
  fuzz::Require(again.ok(), "a written config is a config: " + again.status().message());
  GgufMetadataBuilder second;
  AddConfigToGguf(*again, second);
  fuzz::Require(second.bytes() == builder.bytes(), "a config is written the same way twice");
  fuzz::Require(again->TotalParameters() == config->TotalParameters(), "and has the same size");
  (void)HubConfigOf(*config, {});
  (void)BindGgufWeights(*config, file.tensors(), [](const std::string&) { return kName; });
  (void)ReadGgufGeneration(file.metadata(), config->vocab_size);
}

std::string UnknownToken(const GgufMetadata& metadata) {
  if (metadata.Has(kGgufTokenizerJsonKey)) {
    const auto text = metadata.String(kGgufTokenizerJsonKey);
    const auto spec = ParseTokenizerJson(*text, kName);
    return spec.ok() ? spec->bpe.unknown_token : std::string();
  }
  const auto vocabulary = ReadGgufVocabulary(metadata);
  if (!vocabulary.ok() || !*vocabulary) return "";
  const auto spec = SpecFromGguf(**vocabulary, kName);
  return spec.ok() ? spec->bpe.unknown_token : std::string();
}

void CheckGgufTokenizer(const GgufMetadata& metadata) {
  const auto tokenizer = LoadGgufTokenizer(metadata);
  if (!tokenizer.ok() || *tokenizer == nullptr) return;
  for (const char* text : {"Hello <|im_end|> 12\n \xC3\xA9\xF0\x9F\x98\x80", "<s>a</s> ab"}) {
    fuzz::CheckTokenizer(**tokenizer, UnknownToken(metadata), text);
  }
}

void Read(const uint8_t* data, size_t size) {
  const auto file = GgufFile::Parse({reinterpret_cast<const std::byte*>(data), size}, kName);
  if (!file.ok()) {
    fuzz::Require(file.status().message().find(kName) == 0, "an error names the file");
    return;
  }
  CheckTensors(*file);
  CheckMetadata(file->metadata());
  CheckConfig(*file);
  CheckGgufTokenizer(file->metadata());
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(data, size);
  return 0;
}
