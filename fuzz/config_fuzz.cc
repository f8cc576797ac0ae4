// config.json of every family, and generation_config.json behind it (Fields). What parses is a
// model whose sizes make sense together: the rest of the engine trusts them.
#include <cmath>
#include <nlohmann/json.hpp>

#include "fuzz/fuzz.h"
#include "fuzz/scratch_files.h"
#include "model/generation_config.h"
#include "model/gguf/hub_config.h"
#include "model/weight_binding.h"

namespace npumoe {
namespace {

constexpr char kName[] = "config.json";
constexpr int64_t kMaxListed = 2000;  // tensors; enough for every kind of layer and expert

void CheckAttention(const ModelConfig& config) {
  const AttentionConfig& attention = config.attention;
  fuzz::Require(attention.num_heads > 0 && attention.num_kv_heads > 0 && attention.head_dim > 0,
                "heads have a number and a size");
  fuzz::Require(attention.num_heads % attention.num_kv_heads == 0, "key heads divide query heads");
  fuzz::Require(std::isfinite(attention.Scale()) && attention.Scale() > 0, "a finite scale");
  fuzz::Require(attention.window_tokens >= 0, "a window is no negative number");
  fuzz::Require(attention.layer_has_window.empty() ||
                    attention.layer_has_window.size() == static_cast<size_t>(config.num_layers),
                "every layer has a window or not");
  if (!attention.latent) return;
  const LatentAttention& latent = *attention.latent;
  fuzz::Require(latent.kv_lora_rank > 0 && latent.value_head_dim > 0, "latent rows have a size");
  fuzz::Require(latent.nope_head_dim + latent.rope_head_dim == attention.head_dim,
                "the parts of a latent head make the head");
}

void CheckMoe(const ModelConfig& config) {
  const MoeConfig& moe = config.moe;
  if (config.MoeLayers().empty()) return;
  fuzz::Require(moe.num_experts > 0 && moe.expert_intermediate_size > 0, "experts have a size");
  fuzz::Require(moe.experts_per_token > 0 && moe.experts_per_token <= moe.num_experts,
                "a token has from one to all experts");
  if (moe.rule == RoutingRule::kSparseMixer) {
    fuzz::Require(moe.experts_per_token <= 2, "the sparse mixer chooses two experts");
  }
  if (moe.rule != RoutingRule::kGroupLimited) return;
  fuzz::Require(moe.num_groups > 0 && moe.num_experts % moe.num_groups == 0,
                "groups of experts are of one size");
  fuzz::Require(moe.groups_per_token > 0 && moe.groups_per_token <= moe.num_groups,
                "a token has from one to all groups");
  fuzz::Require(moe.experts_per_token <= moe.groups_per_token * (moe.num_experts / moe.num_groups),
                "the groups of a token have enough experts");
}

void CheckTensors(const ModelConfig& config) {
  const ModelFamily* family = FindFamily(config.family);
  fuzz::Require(family != nullptr, "the family of a config is known");
  int64_t listed = 0;
  (void)ForEachExpectedTensor(*family, config, [&](const ExpectedTensor& tensor) {
    for (const int64_t axis : tensor.shape.axes()) {
      fuzz::Require(axis > 0, "tensor '" + tensor.name + "' has rows and columns");
    }
    return ++listed < kMaxListed ? OkStatus() : InvalidInput("enough");
  });
  fuzz::Require(listed > 0, "a model has tensors");
}

// The config.json that is written when a model is converted back from GGUF.
void CheckWrittenAgain(const ModelConfig& config) {
  const Result<std::string> text = HubConfigOf(config, {});
  if (!text.ok()) return;
  const Result<Json> json = ParseJson(*text, "written.json");
  fuzz::Require(json.ok(), "what was written is JSON: " + json.status().message());
  const Result<ModelConfig> again = ParseModelConfig(*json, "written.json");
  fuzz::Require(again.ok(), "what was written can be read: " + again.status().message());
  const Result<std::string> second = HubConfigOf(*again, {});
  fuzz::Require(second.ok() && *second == *text, "a config is written the same way twice");
  fuzz::Require(again->TotalParameters() == config.TotalParameters(), "the size is written");
  fuzz::Require(again->MoeLayers() == config.MoeLayers(), "the kinds of layers are written");
}

void Read(std::string_view input) {
  fuzz::Fields fields(input);
  const Result<Json> json = ParseJson(fields.Take(), kName);
  if (!json.ok()) return;
  const Result<ModelConfig> config = ParseModelConfig(*json, kName);
  if (!config.ok()) {
    fuzz::Require(config.status().message().find(kName) == 0, "an error names the file");
    return;
  }
  fuzz::Require(config->hidden_size > 0 && config->vocab_size > 0, "rows have a size");
  fuzz::Require(config->is_moe_layer.size() == static_cast<size_t>(config->num_layers),
                "every layer is of a kind");
  fuzz::Require(config->TotalParameters() >= config->ActiveParameters(),
                "no token uses more parameters than there are");
  fuzz::Require(config->ActiveParameters() > 0, "a model has parameters");
  CheckAttention(*config);
  CheckMoe(*config);
  CheckTensors(*config);
  CheckWrittenAgain(*config);

  static const fuzz::ScratchFolder folder;
  fuzz::WriteFile(folder / "generation_config.json", fields.Take());
  const auto generation = ReadGenerationConfig(folder.path(), *json, config->vocab_size);
  if (!generation.ok()) return;
  for (const int32_t id : generation->end_tokens) {
    fuzz::Require(id >= 0 && id < config->vocab_size, "end tokens are in the vocabulary");
  }
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
