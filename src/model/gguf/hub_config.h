// A config.json for a model that came from a GGUF, in the style of the model hub.
#pragma once

#include <string>

#include "base/dtype.h"
#include "base/json.h"
#include "base/status.h"
#include "model/config.h"

namespace npumoe {

// How the weights are written, which config.json says, too.
struct HubWeights {
  DType dtype = DType::kBF16;  // torch_dtype
  bool mxfp4_experts = false;  // gpt_oss
};

// The text of a config.json that ParseModelConfig reads as `config` (with rows of q and k as the
// family's folders have them). Fails for a config that no config.json of its family can say.
Result<std::string> HubConfigOf(const ModelConfig& config, const HubWeights& weights);

// `config` with the rows of q and k as the family's folders have them.
ModelConfig HubFormOf(const ModelConfig& config);

}  // namespace npumoe
