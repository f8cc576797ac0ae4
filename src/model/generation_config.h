// generation_config.json: end tokens and sampling defaults that the model's authors chose.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/config.h"

namespace npumoe {

struct GenerationConfig {
  std::vector<int32_t> end_tokens;  // generation stops after any of them
  std::optional<float> temperature;
  std::optional<int> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<bool> do_sample;
  // Fields of the file that would change answers elsewhere and have no effect here, by name.
  std::vector<std::string> unsupported;
};

// The fields of a generation_config.json. `name` starts every message.
Result<GenerationConfig> ParseGenerationConfig(const Json& json, const std::string& name,
                                               int vocab_size);

// Reads FOLDER/generation_config.json where present; end tokens fall back to `eos_token_id`
// (a number or a list) of config.json. Ids outside the vocabulary are errors.
Result<GenerationConfig> ReadGenerationConfig(const std::filesystem::path& folder,
                                              const Json& config_json, int vocab_size);

}  // namespace npumoe
