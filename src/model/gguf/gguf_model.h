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

bool IsGgufPath(const std::filesystem::path& path);
// The GGUF of a folder that holds one model (the first part of a split one), or an empty path.
std::filesystem::path FindGgufIn(const std::filesystem::path& folder);

Result<std::shared_ptr<const Model>> LoadGgufModel(const std::filesystem::path& path);

// The tokenizer alone; null: the file has none.
Result<std::shared_ptr<const Tokenizer>> LoadGgufTokenizer(const GgufMetadata& metadata);
Result<GenerationConfig> ReadGgufGeneration(const GgufMetadata& metadata, int vocab_size);

}  // namespace npumoe
