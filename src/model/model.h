// Model: everything that a model folder or a GGUF file holds, loaded and checked.
//
// LoadModel maps the weights (no copy), so it returns in milliseconds and needs no memory of the
// weights' size. It checks every tensor's name, type and shape against the config; a missing, an
// extra and a misshapen tensor are errors that name it.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "model/chat_template.h"
#include "model/config.h"
#include "model/generation_config.h"
#include "model/tokenizer.h"
#include "model/weights.h"

namespace npumoe {

struct Model {
  std::filesystem::path path;
  ModelConfig config;
  ModelWeights weights;
  GenerationConfig generation;                 // defaults where the file is absent
  std::shared_ptr<const Tokenizer> tokenizer;  // null: the folder has none; only ids are taken
  std::optional<ChatTemplate> chat_template;   // none: a base model; prompts are completed as is
  // Why there is no chat template although the folder has one ("unknown template ..."), or empty.
  std::string chat_template_problem;
  // Ties derived files to this model: config, tensor headers and samples of every tensor's bytes.
  std::string hash;
  std::string tokenizer_hash;  // of its file; empty without one
};

// Bytes per weight of the experts as the CPU reads them: 4 for F32, 2 for F16 and BF16, 0.5625 for
// Q4_0. Of the first layer that has experts; 2 without any.
double BytesPerWeight(const Model& model);

// `path`: a folder in Hugging Face's layout (config.json, *.safetensors, tokenizer.json, ...), a
// GGUF file (the first one of a split model), or a folder that holds one.
Result<std::shared_ptr<const Model>> LoadModel(const std::filesystem::path& path);

}  // namespace npumoe
