#include "base/check.h"
#include "model/gguf/architecture_keys.h"
#include "model/gguf/gguf_config.h"
#include "model/gguf/gguf_moe.h"
#include "model/gguf/gguf_rope.h"

namespace npumoe {
namespace {

void AddBackbone(const ModelConfig& config, ArchitectureKeyWriter& writer) {
  writer.Add("block_count", config.num_layers);
  writer.Add("context_length", config.max_position_embeddings);
  writer.Add("embedding_length", config.hidden_size);
  writer.Add("vocab_size", config.vocab_size);
  writer.Add("attention.layer_norm_rms_epsilon", config.norm_eps);
  if (config.norm == NormKind::kLayer) writer.Add("attention.layer_norm_epsilon", config.norm_eps);
}

void AddLatent(const LatentAttention& latent, ArchitectureKeyWriter& writer) {
  if (latent.q_lora_rank > 0) writer.Add("attention.q_lora_rank", latent.q_lora_rank);
  writer.Add("attention.kv_lora_rank", latent.kv_lora_rank);
}

bool IsEveryOther(const std::vector<bool>& layers) {
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] != (i % 2 == 0)) return false;
  }
  return true;
}

void AddWindows(const AttentionConfig& attention, ArchitectureKeyWriter& writer) {
  if (attention.window_tokens == 0) return;
  writer.Add("attention.sliding_window", static_cast<int>(attention.window_tokens));
  if (attention.layer_has_window.empty() || IsEveryOther(attention.layer_has_window)) return;
  writer.builder().AddBools(writer.Key("attention.sliding_window_pattern"),
                            attention.layer_has_window);
}

void AddAttention(const AttentionConfig& attention, ArchitectureKeyWriter& writer) {
  writer.Add("attention.head_count", attention.num_heads);
  writer.Add("attention.head_count_kv", attention.num_kv_heads);
  writer.Add("attention.key_length", attention.head_dim);
  writer.Add("attention.value_length", attention.value_head_dim());
  if (attention.latent) AddLatent(*attention.latent, writer);
  if (attention.clip_qkv > 0) writer.Add("attention.clamp_kqv", attention.clip_qkv);
  AddWindows(attention, writer);
}

// granitemoe's engines need all four.
void AddMultipliers(const ModelConfig& config, ArchitectureKeyWriter& writer) {
  if (config.attention.scale > 0) writer.Add("attention.scale", config.attention.scale);
  if (writer.architecture().name != "granitemoe") return;
  writer.Add("embedding_scale", config.embedding_multiplier);
  writer.Add("residual_scale", config.residual_multiplier);
  writer.Add("logit_scale", config.logits_divisor);
}

const GgufArchitecture& ArchitectureOf(const ModelConfig& config) {
  const GgufArchitecture* architecture = GgufArchitectureOfFamily(config.family);
  NPUMOE_CHECK(architecture != nullptr);  // every family has one
  return *architecture;
}

}  // namespace

ModelConfig GgufFormOf(const ModelConfig& config) {
  ModelConfig form = config;
  form.rope.pairs = ArchitectureOf(config).pairs;
  return form;
}

void AddConfigToGguf(const ModelConfig& config, GgufMetadataBuilder& builder) {
  const GgufArchitecture& architecture = ArchitectureOf(config);
  builder.AddString("general.architecture", architecture.name);
  ArchitectureKeyWriter writer(builder, architecture);
  AddBackbone(config, writer);
  AddAttention(config.attention, writer);
  AddMultipliers(config, writer);
  AddGgufMoe(config, writer);
  AddGgufRope(config, writer);
}

}  // namespace npumoe
