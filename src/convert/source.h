// What `npumoe convert` reads: a model folder or a GGUF, one logical tensor at a time, and all that
// a model has beside its weights.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/config.h"
#include "model/gguf/gguf_metadata.h"
#include "model/tokenizer/tokenizer_spec.h"
#include "model/weight_binding.h"

namespace npumoe {

struct ConvertSource {
  std::filesystem::path path;
  ModelConfig config;
  std::optional<TokenizerSpec> tokenizer;  // of a folder; none: it has none
  std::string tokenizer_json;              // empty: none
  std::string tokenizer_config_json;       // empty: none
  std::string chat_template;               // its source; empty: none
  std::string generation_json;             // empty: none
  std::vector<std::string> config_fields;  // the names in a folder's config.json
  const GgufMetadata* metadata = nullptr;  // of a GGUF; null: a folder
  // A tensor by its role, layer and expert (its name and shape are filled in); none: the model
  // lacks it and may.
  std::function<Result<std::optional<FoundTensor>>(ExpectedTensor)> find;
  // After at least one expert of each stacked tensor, and all others, were found: fails for tensors
  // that nobody asked for.
  std::function<Status()> refuse_left_over;
  std::shared_ptr<const void> storage;  // of everything above
};

// `path`: what LoadModel takes.
Result<ConvertSource> OpenConvertSource(const std::filesystem::path& path);

}  // namespace npumoe
