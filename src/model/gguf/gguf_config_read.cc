#include <algorithm>

#include "model/config_fields.h"
#include "model/gguf/architecture_keys.h"
#include "model/gguf/gguf_config.h"
#include "model/gguf/gguf_moe.h"
#include "model/gguf/gguf_rope.h"
#include "model/gguf/key_rules.h"

namespace npumoe {
namespace {

using Tensors = std::map<std::string, TensorView>;

std::string KnownArchitectures() {
  std::string known;
  for (const GgufArchitecture& architecture : AllGgufArchitectures()) {
    known += (known.empty() ? "" : ", ") + std::string(architecture.name);
  }
  return known;
}

bool HasRole(const ArchitectureKeys& keys, const Tensors& tensors, TensorRole role) {
  return tensors.contains(GgufTensorName(keys.architecture(), role, 0));
}

Result<int> ReadVocabulary(const ArchitectureKeys& keys, const Tensors& tensors) {
  const std::string name = GgufTensorName(keys.architecture(), TensorRole::kEmbedding, 0);
  const auto found = tensors.find(name);
  const std::string where = keys.metadata().name() + ": tensor '" + name + "'";
  if (found == tensors.end()) {
    return NotFound(where + " is missing, and every model has one; download the file again");
  }
  const Shape& shape = found->second.shape;
  if (shape.rank() != 2 || shape[0] > kMaxModelVocabulary) {
    return InvalidInput(where + " has shape " + shape.ToString() +
                        ", [vocabulary, hidden] with "
                        "at most " +
                        std::to_string(kMaxModelVocabulary) + " tokens is needed");
  }
  const auto vocabulary = static_cast<int>(shape[0]);
  NPUMOE_ASSIGN_OR_RETURN(const int declared,
                          keys.Dimension("vocab_size", kMaxModelVocabulary, vocabulary));
  if (declared == vocabulary) return vocabulary;
  return keys.KeyError("vocab_size",
                       "tensor '" + name + "' has " + std::to_string(vocabulary) + " rows");
}

// Engines whose norm subtracts the mean read this key, others the one of the RMS norm.
Status CheckLayerNormEpsilon(const ArchitectureKeys& keys, float epsilon) {
  if (keys.architecture().norm != NormKind::kLayer) return OkStatus();
  const char* key = "attention.layer_norm_epsilon";
  NPUMOE_ASSIGN_OR_RETURN(const float own, keys.Float(key, 0.0, 1.0, epsilon));
  if (own == epsilon) return OkStatus();
  return keys.KeyError(
      key, "it contradicts attention.layer_norm_rms_epsilon, which is " + std::to_string(epsilon));
}

Status ReadBackboneKeys(const ArchitectureKeys& keys, const Tensors& tensors, ModelConfig& config) {
  const GgufArchitecture& architecture = keys.architecture();
  config.family = architecture.family;
  config.norm = architecture.norm;
  NPUMOE_ASSIGN_OR_RETURN(config.num_layers, keys.Dimension("block_count", kMaxModelLayers));
  NPUMOE_ASSIGN_OR_RETURN(config.hidden_size, keys.Dimension("embedding_length", kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(config.max_position_embeddings,
                          keys.Dimension("context_length", kMaxModelPositions));
  NPUMOE_ASSIGN_OR_RETURN(config.vocab_size, ReadVocabulary(keys, tensors));
  const bool has_rms_key = keys.Has("attention.layer_norm_rms_epsilon");
  const char* eps_key =
      has_rms_key ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
  if (!keys.Has(eps_key)) {
    return keys.KeyError("attention.layer_norm_rms_epsilon", "a number from 0 to 1 is needed");
  }
  NPUMOE_ASSIGN_OR_RETURN(config.norm_eps, keys.Float(eps_key, 0.0, 1.0, 0.0f));
  NPUMOE_RETURN_IF_ERROR(CheckLayerNormEpsilon(keys, config.norm_eps));
  config.tie_word_embeddings = !HasRole(keys, tensors, TensorRole::kLmHead);
  config.lm_head_bias = HasRole(keys, tensors, TensorRole::kLmHeadBias);
  return OkStatus();
}

Status ReadMultiplierKeys(const ArchitectureKeys& keys, ModelConfig& config) {
  constexpr double kMin = 1e-6;  // as for config.json
  NPUMOE_ASSIGN_OR_RETURN(config.attention.scale,
                          keys.Float("attention.scale", 0.0, kMaxModelMultiplier, 0.0f));
  NPUMOE_ASSIGN_OR_RETURN(config.embedding_multiplier,
                          keys.Float("embedding_scale", kMin, kMaxModelMultiplier, 1.0f));
  NPUMOE_ASSIGN_OR_RETURN(config.residual_multiplier,
                          keys.Float("residual_scale", kMin, kMaxModelMultiplier, 1.0f));
  NPUMOE_ASSIGN_OR_RETURN(config.logits_divisor,
                          keys.Float("logit_scale", kMin, kMaxModelMultiplier, 1.0f));
  return OkStatus();
}

Status CheckHeads(const ArchitectureKeys& keys, const AttentionConfig& attention, int widest) {
  if (attention.num_heads % attention.num_kv_heads != 0) {
    return keys.KeyError("attention.head_count_kv", "it must divide attention.head_count, " +
                                                        std::to_string(attention.num_heads));
  }
  if (attention.head_dim % 2 != 0) {
    return keys.KeyError("attention.key_length", "rotary positions need an even head size");
  }
  if (widest <= kMaxModelWidth / attention.num_heads) return OkStatus();
  return keys.KeyError("attention.head_count", "heads of " + std::to_string(widest) +
                                                   " make rows of more than " +
                                                   std::to_string(kMaxModelWidth));
}

Status ReadGroupedQuery(const ArchitectureKeys& keys, const ModelConfig& config,
                        AttentionConfig& attention) {
  if (!keys.Has("attention.key_length") && config.hidden_size % attention.num_heads != 0) {
    return keys.KeyError("attention.head_count",
                         "without attention.key_length it must divide embedding_length, " +
                             std::to_string(config.hidden_size));
  }
  const int usual = config.hidden_size / attention.num_heads;
  NPUMOE_ASSIGN_OR_RETURN(attention.head_dim,
                          keys.Dimension("attention.key_length", kMaxModelWidth, usual));
  NPUMOE_ASSIGN_OR_RETURN(const int value_dim, keys.Dimension("attention.value_length",
                                                              kMaxModelWidth, attention.head_dim));
  if (attention.head_dim == 0) return keys.KeyError("attention.key_length", "it must not be 0");
  if (value_dim != attention.head_dim) {
    return keys.KeyError("attention.value_length",
                         "this build supports values as wide as keys, which have " +
                             std::to_string(attention.head_dim));
  }
  NPUMOE_ASSIGN_OR_RETURN(
      attention.num_kv_heads,
      keys.Dimension("attention.head_count_kv", attention.num_heads, attention.num_heads));
  if (attention.num_kv_heads == 0) {
    return keys.KeyError("attention.head_count_kv", "it must not be 0");
  }
  return CheckHeads(keys, attention, attention.head_dim);
}

// Files whose kv_b is split count one head of the cached row, and give the heads' own sizes in
// other keys.
Status ReadLatent(const ArchitectureKeys& keys, AttentionConfig& attention) {
  LatentAttention latent;
  const bool split = keys.Has("attention.key_length_mla") || keys.Has("attention.value_length_mla");
  const std::string key_length = split ? "attention.key_length_mla" : "attention.key_length";
  const std::string value_length = split ? "attention.value_length_mla" : "attention.value_length";
  NPUMOE_ASSIGN_OR_RETURN(attention.head_dim, keys.Dimension(key_length, kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(latent.value_head_dim, keys.Dimension(value_length, kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(latent.rope_head_dim,
                          keys.Dimension("rope.dimension_count", kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(latent.kv_lora_rank,
                          keys.Dimension("attention.kv_lora_rank", kMaxModelWidth));
  NPUMOE_ASSIGN_OR_RETURN(latent.q_lora_rank,
                          keys.Dimension("attention.q_lora_rank", kMaxModelWidth, 0));
  latent.nope_head_dim = attention.head_dim - latent.rope_head_dim;
  if (latent.nope_head_dim < 1 || latent.rope_head_dim % 2 != 0) {
    return keys.KeyError("rope.dimension_count", "an even number below " + key_length + ", " +
                                                     std::to_string(attention.head_dim) +
                                                     ", is needed");
  }
  attention.num_kv_heads = attention.num_heads;
  attention.latent = latent;
  return CheckHeads(keys, attention,
                    std::max(attention.head_dim, latent.nope_head_dim + latent.value_head_dim));
}

// A list says it of every layer; a number n: all but every n-th layer. Without a key: every other.
Result<std::vector<bool>> ReadWindowPattern(const ArchitectureKeys& keys, int num_layers) {
  const std::string key = keys.Key("attention.sliding_window_pattern");
  const GgufValue* value = keys.metadata().Find(key);
  if (value != nullptr && value->type == GgufType::kArray) {
    NPUMOE_ASSIGN_OR_RETURN(std::vector<bool> pattern, keys.metadata().Bools(key));
    if (pattern.size() == static_cast<size_t>(num_layers)) return pattern;
    return keys.metadata().KeyError(
        key, "one for each of " + std::to_string(num_layers) + " layers is needed");
  }
  NPUMOE_ASSIGN_OR_RETURN(const int period,
                          keys.Dimension("attention.sliding_window_pattern", kMaxModelLayers, 2));
  if (period == 0) return keys.metadata().KeyError(key, "it must not be 0");
  std::vector<bool> pattern;
  for (int layer = 0; layer < num_layers; ++layer) pattern.push_back(layer % period < period - 1);
  return pattern;
}

// Of an architecture whose layers all have the window, or none has. 0 is all of them, too.
Status CheckUniformWindow(const ArchitectureKeys& keys, const ModelConfig& config) {
  const char* suffix = "attention.sliding_window_pattern";
  if (config.attention.window_tokens == 0 || !keys.Has(suffix)) return OkStatus();
  const GgufMetadata& metadata = keys.metadata();
  const std::string key = keys.Key(suffix);
  const bool is_list = metadata.Find(key)->type == GgufType::kArray;
  if (!is_list && metadata.Int(key, 0, 0).ok()) return OkStatus();
  const auto pattern = metadata.Bools(key);
  const bool all = is_list && pattern.ok() &&
                   pattern->size() == static_cast<size_t>(config.num_layers) &&
                   std::ranges::find(*pattern, false) == pattern->end();
  if (all) return OkStatus();
  return Unsupported(
      metadata
          .KeyError(key,
                    "this build computes models of this architecture whose layers all have "
                    "the window (0, or a list of true for each layer), or none has it "
                    "(attention.sliding_window 0)")
          .message());
}

Status ReadWindowKeys(const ArchitectureKeys& keys, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(config.attention.window_tokens,
                          keys.Dimension("attention.sliding_window", kMaxModelPositions, 0));
  if (!keys.architecture().has_sinks_and_expert_biases) return CheckUniformWindow(keys, config);
  if (config.attention.window_tokens == 0) {
    return keys.KeyError("attention.sliding_window", "a model of this architecture has one");
  }
  NPUMOE_ASSIGN_OR_RETURN(config.attention.layer_has_window,
                          ReadWindowPattern(keys, config.num_layers));
  return OkStatus();
}

Status ReadAttentionKeys(const ArchitectureKeys& keys, const Tensors& tensors,
                         ModelConfig& config) {
  AttentionConfig& attention = config.attention;
  NPUMOE_ASSIGN_OR_RETURN(attention.num_heads,
                          keys.Dimension("attention.head_count", kMaxModelHeads));
  NPUMOE_RETURN_IF_ERROR(keys.architecture().name == "deepseek2"
                             ? ReadLatent(keys, attention)
                             : ReadGroupedQuery(keys, config, attention));
  attention.qk_norm = keys.architecture().qk_norm;
  attention.has_sinks = keys.architecture().has_sinks_and_expert_biases;
  attention.projection_bias = HasRole(keys, tensors, TensorRole::kQBias);
  attention.output_bias = HasRole(keys, tensors, TensorRole::kOBias);
  NPUMOE_ASSIGN_OR_RETURN(attention.clip_qkv,
                          keys.Float("attention.clamp_kqv", 0.0, kMaxModelMultiplier, 0.0f));
  return ReadWindowKeys(keys, config);
}

}  // namespace

Result<ModelConfig> ConfigFromGguf(const GgufMetadata& metadata, const Tensors& tensors) {
  if (tensors.empty()) {
    return NotFound(metadata.name() +
                    ": holds no tensors, so there is no model in it (a vocabulary only?); show and "
                    "tokenize take such files, other commands need one with weights");
  }
  NPUMOE_ASSIGN_OR_RETURN(const std::string name, metadata.String("general.architecture"));
  const GgufArchitecture* architecture = FindGgufArchitecture(name);
  if (architecture == nullptr) {
    return Unsupported(metadata.name() + ": architecture '" + name.substr(0, 60) +
                       "' is not known to this build, which knows " + KnownArchitectures());
  }
  const ArchitectureKeys keys(metadata, *architecture);
  ModelConfig config;
  NPUMOE_RETURN_IF_ERROR(CheckGgufKeys(keys));
  NPUMOE_RETURN_IF_ERROR(ReadBackboneKeys(keys, tensors, config));
  NPUMOE_RETURN_IF_ERROR(ReadAttentionKeys(keys, tensors, config));
  NPUMOE_RETURN_IF_ERROR(ReadMultiplierKeys(keys, config));
  NPUMOE_RETURN_IF_ERROR(ReadGgufMoe(keys, config));
  NPUMOE_RETURN_IF_ERROR(ReadGgufRope(keys, tensors, config));
  return config;
}

}  // namespace npumoe
