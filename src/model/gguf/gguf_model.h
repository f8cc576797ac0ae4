// A model from a GGUF file: config, weights, tokenizer, chat template, end tokens.
#pragma once

#include <filesystem>
#include <memory>

#include "base/status.h"
#include "model/gguf/gguf_file.h"
#include "model/model.h"

namespace npumoe {

// Keys of our own that keep what a model folder says beside config.json.
inline constexpr const char* kGgufGenerationKey = "npumoe.generation_config";
// A tokenizer.json as it is; preferred to tokenizer.ggml.*.
inline constexpr const char* kGgufTokenizerJsonKey = "tokenizer.huggingface.json";
inline constexpr const char* kGgufChatTemplateKey = "tokenizer.chat_template";

// Whether the name ends in .gguf, in either case.
bool IsGgufPath(const std::filesystem::path& path);
// `path` itself where it is a GGUF; of a folder without config.json the only GGUF (or the first
// part of the only split one); an empty path where there is none. Fails for a folder with several,
// and for one with parts of a split that lacks the first.
Result<std::filesystem::path> GgufOf(const std::filesystem::path& path);

Result<std::shared_ptr<const Model>> LoadGgufModel(const std::filesystem::path& path);

// The tokenizer alone; null: the file has none.
Result<std::shared_ptr<const Tokenizer>> LoadGgufTokenizer(const GgufMetadata& metadata);
Result<GenerationConfig> ReadGgufGeneration(const GgufMetadata& metadata, int vocab_size);

}  // namespace npumoe
