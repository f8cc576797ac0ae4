#include "model/gguf/key_rules.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace npumoe {
namespace {

// Of every architecture.
constexpr std::string_view kRead[] = {
    "attention.clamp_kqv",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.scale",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_feed_forward_length",
    "expert_gating_func",
    "expert_group_count",
    "expert_group_used_count",
    "expert_shared_count",
    "expert_shared_feed_forward_length",
    "expert_used_count",
    "expert_weights_norm",
    "expert_weights_scale",
    "feed_forward_length",
    "leading_dense_block_count",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
    "vocab_size",
};

struct OwnKey {
  std::string_view architecture;
  std::string_view suffix;
};
constexpr OwnKey kReadOfOne[] = {
    {"deepseek2", "attention.kv_lora_rank"},   {"deepseek2", "attention.q_lora_rank"},
    {"deepseek2", "attention.key_length_mla"}, {"deepseek2", "attention.value_length_mla"},
    {"granitemoe", "embedding_scale"},         {"granitemoe", "logit_scale"},
    {"granitemoe", "residual_scale"},
};

// With this number, as a bool 0 or 1, alone or in all elements of a list, a key says nothing.
struct NeutralNumber {
  std::string_view suffix;
  double value;
  std::string_view text;
};
constexpr NeutralNumber kNeutral[] = {
    {"attention.causal", 1, "true"},
    {"attention.kv_lora_rank", 0, "0"},
    {"attention.max_alibi_bias", 0, "0"},
    {"attention.output_scale", 1, "1"},
    {"attention.q_lora_rank", 0, "0"},
    {"attention.relative_buckets_count", 0, "0"},
    {"attention.shared_kv_layers", 0, "0"},
    {"attention.temperature_length", 0, "0"},
    {"attention.temperature_scale", 0, "0"},
    {"attention.value_scale", 1, "1"},
    {"attn_logit_softcapping", 0, "0"},
    {"embedding_length_per_layer_input", 0, "0"},
    {"embedding_scale", 1, "1"},
    {"expert_chunk_feed_forward_length", 0, "0"},
    {"expert_group_scale", 1, "1"},
    {"final_logit_softcapping", 0, "0"},
    {"full_attention_interval", 1, "1"},
    {"interleave_moe_layer_step", 1, "1"},
    {"logit_scale", 1, "1"},
    {"moe_every_n_layers", 1, "1"},
    {"n_deepstack_layers", 0, "0"},
    {"nextn_predict_layers", 0, "0"},
    {"pooling_type", 0, "0"},
    {"rescale_every_n_layers", 0, "0"},
    {"residual_scale", 1, "1"},
    {"rope.dimension_sections", 0, "0"},
    {"router_logit_softcapping", 0, "0"},
    {"swiglu_clamp_exp", 0, "0"},
    {"swiglu_clamp_shexp", 0, "0"},
    {"swin_norm", 0, "false"},
    {"token_shift_count", 0, "0"},
    {"use_parallel_residual", 0, "false"},
};

// Keys that say something of some layers, or of outputs, that another key says of all: neutral
// where both say the same.
struct Twin {
  std::string_view suffix;
  std::string_view other;
};
constexpr Twin kTwins[] = {
    {"attention.key_length_swa", "attention.key_length"},
    {"attention.value_length_swa", "attention.value_length"},
    {"embedding_length_out", "embedding_length"},
    {"rope.dimension_count_swa", "rope.dimension_count"},
    {"rope.freq_base_swa", "rope.freq_base"},
};

// Every number of a scalar or a list; none: strings, or a list in a list.
std::optional<std::vector<double>> NumbersOf(const GgufMetadata& metadata, const std::string& key) {
  const GgufValue& value = *metadata.Find(key);
  if (const auto* flag = std::get_if<bool>(&value.value))
    return std::vector<double>{*flag ? 1. : 0.};
  if (const auto* array = std::get_if<GgufArray>(&value.value)) {
    if (array->type == GgufType::kBool) {
      const auto flags = metadata.Bools(key);
      return std::vector<double>(flags->begin(), flags->end());
    }
    const auto numbers = metadata.Numbers(key);
    return numbers.ok() ? std::optional(*numbers) : std::nullopt;
  }
  constexpr double kMost = 1e300;
  const auto number = metadata.Number(key, -kMost, kMost);
  return number.ok() ? std::optional(std::vector<double>{*number}) : std::nullopt;
}

bool IsAll(const GgufMetadata& metadata, const std::string& key, double wanted) {
  const auto numbers = NumbersOf(metadata, key);
  return numbers && std::ranges::all_of(*numbers, [&](double n) { return n == wanted; });
}

// Rows of q and k that stand as the architecture has them.
bool IsUsualLayout(const GgufArchitecture& architecture, const std::string& layout) {
  if (layout == "reference") return true;
  return layout == "Meta AI original pth" && architecture.pairs == RopePairs::kInterleaved;
}

bool IsRead(const GgufArchitecture& architecture, std::string_view suffix) {
  if (std::ranges::find(kRead, suffix) != std::end(kRead)) return true;
  return std::ranges::any_of(kReadOfOne, [&](const OwnKey& own) {
    return own.architecture == architecture.name && own.suffix == suffix;
  });
}

Status CheckKey(const ArchitectureKeys& keys, std::string_view suffix) {
  if (IsRead(keys.architecture(), suffix)) return OkStatus();
  const GgufMetadata& metadata = keys.metadata();
  const std::string key = keys.Key(suffix);
  const auto refuse = [&](const std::string& allowed) {
    return Unsupported(metadata
                           .KeyError(key,
                                     "this build computes models of this architecture where "
                                     "it is absent or " +
                                         allowed)
                           .message());
  };
  for (const NeutralNumber& neutral : kNeutral) {
    if (neutral.suffix != suffix) continue;
    if (IsAll(metadata, key, neutral.value)) return OkStatus();
    return refuse(std::string(neutral.text));
  }
  for (const Twin& twin : kTwins) {
    if (twin.suffix != suffix) continue;
    const std::string other = keys.Key(twin.other);
    const auto numbers = metadata.Has(other) ? NumbersOf(metadata, other) : std::nullopt;
    if (numbers && !numbers->empty() && IsAll(metadata, key, numbers->front())) return OkStatus();
    return refuse("what key '" + other + "' is");
  }
  if (suffix == "tensor_data_layout") {
    const auto layout = metadata.String(key);
    if (layout.ok() && IsUsualLayout(keys.architecture(), *layout)) return OkStatus();
    return refuse("'reference'");
  }
  return Unsupported(metadata
                         .KeyError(key,
                                   "this build does not know the key, and without it the "
                                   "model could give other results; docs/design/gguf.md "
                                   "lists those that it knows. If it changes nothing, remove "
                                   "it: gguf-new-metadata --remove-metadata " +
                                       key)
                         .message());
}

}  // namespace

Status CheckGgufKeys(const ArchitectureKeys& keys) {
  const std::string prefix = keys.Key("");
  for (const auto& [key, value] : keys.metadata().values()) {
    if (!key.starts_with(prefix)) continue;
    NPUMOE_RETURN_IF_ERROR(CheckKey(keys, key.substr(prefix.size())));
  }
  return OkStatus();
}

}  // namespace npumoe
