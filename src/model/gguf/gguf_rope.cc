#include "model/gguf/gguf_rope.h"

#include <algorithm>
#include <cmath>

#include "model/config_fields.h"
#include "model/gguf/gguf_config.h"

namespace npumoe {
namespace {

constexpr double kMaxTheta = 1e15;  // chosen, as for config.json
constexpr double kMaxFactor = 1e6;  // chosen, as for config.json
constexpr const char* kYarnFactorKey = "npumoe.rope.yarn_attention_factor";
constexpr const char* kYarnTruncateKey = "npumoe.rope.yarn_truncate";
constexpr const char* kShortFactorKey = "npumoe.rope.short_attention_factor";
constexpr const char* kShortFactorsKey = "npumoe.rope.short_factors";
constexpr const char* kLongFactorsKey = "npumoe.rope.long_factors";

bool IsLatent(const ModelConfig& config) { return config.attention.latent.has_value(); }

int RotaryDims(const ModelConfig& config) {
  return IsLatent(config) ? config.attention.latent->rope_head_dim : config.attention.head_dim;
}

// Engines agree on fewer digits than a float has.
bool NearlyEqual(double a, double b) { return std::abs(a - b) <= 1e-3 * std::abs(b); }

// What multiplies cos and sin. Engines take the usual magnitude times yarn_attn_factor; with latent
// attention they sharpen q . k instead.
Status ReadYarnFactor(const ArchitectureKeys& keys, const ModelConfig& config, YarnScaling& yarn) {
  NPUMOE_ASSIGN_OR_RETURN(const double usual,
                          keys.Number("rope.scaling.yarn_attn_factor", 0.0, kMaxFactor, 1.0));
  const double factor = IsLatent(config) ? 1.0 : usual * YarnMagnitude(yarn.factor, 1.0);
  NPUMOE_ASSIGN_OR_RETURN(const double own,
                          keys.metadata().Number(kYarnFactorKey, 0.0, kMaxFactor, factor));
  yarn.attention_factor = static_cast<float>(own);
  if (IsLatent(config) || NearlyEqual(own, factor)) return OkStatus();
  return keys.metadata().KeyError(kYarnFactorKey,
                                  "the other keys make it " + std::to_string(factor));
}

// yarn_log_multiplier is 0.1 * mscale_all_dim; the magnitude works on both factors of q . k.
Status ReadLatentScale(const ArchitectureKeys& keys, const YarnScaling& yarn, ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(const double multiplier, keys.Number("rope.scaling.yarn_log_multiplier",
                                                               0.0, kMaxModelMultiplier, 0.0));
  if (multiplier == 0) return OkStatus();
  const double magnitude = yarn.factor <= 1 ? 1.0 : 1.0 + multiplier * std::log(yarn.factor);
  const double scale = magnitude * magnitude / std::sqrt(config.attention.head_dim);
  if (config.attention.scale == 0) config.attention.scale = static_cast<float>(scale);
  if (NearlyEqual(config.attention.scale, scale)) return OkStatus();
  return keys.KeyError("attention.scale", "yarn_log_multiplier makes it " + std::to_string(scale));
}

Status ReadYarn(const ArchitectureKeys& keys, ModelConfig& config) {
  YarnScaling yarn;
  NPUMOE_ASSIGN_OR_RETURN(yarn.factor, keys.Number("rope.scaling.factor", 1.0, kMaxFactor, 1.0));
  NPUMOE_ASSIGN_OR_RETURN(const int original,
                          keys.Dimension("rope.scaling.original_context_length", kMaxModelPositions,
                                         config.max_position_embeddings));
  if (original == 0) {
    return keys.KeyError("rope.scaling.original_context_length", "a number above 0 is needed");
  }
  yarn.original_max_positions = original;
  NPUMOE_ASSIGN_OR_RETURN(yarn.beta_fast,
                          keys.Number("rope.scaling.yarn_beta_fast", 0.0, kMaxFactor, 32.0));
  NPUMOE_ASSIGN_OR_RETURN(yarn.beta_slow,
                          keys.Number("rope.scaling.yarn_beta_slow", 0.0, kMaxFactor, 1.0));
  // gpt-oss was trained without rounding the ramp's ends, and its files do not say so.
  const bool usual = config.moe.activation != ExpertActivation::kClampedSwiGlu;
  NPUMOE_ASSIGN_OR_RETURN(yarn.truncate, keys.metadata().Bool(kYarnTruncateKey, usual));
  NPUMOE_RETURN_IF_ERROR(ReadYarnFactor(keys, config, yarn));
  if (config.rope.theta <= 1) return keys.KeyError("rope.freq_base", "YaRN needs a base above 1");
  if (IsLatent(config)) NPUMOE_RETURN_IF_ERROR(ReadLatentScale(keys, yarn, config));
  config.rope.scaling = yarn;
  return OkStatus();
}

// From the tensor, or with all digits from our own key, which must agree with it.
Result<std::vector<double>> ReadFactors(const ArchitectureKeys& keys,
                                        const std::map<std::string, TensorView>& tensors,
                                        const char* tensor, const char* exact_key, int count) {
  const std::string where = keys.metadata().name() + ": tensor '" + tensor + "'";
  const auto found = tensors.find(tensor);
  if (found == tensors.end()) return NotFound(where + " is missing; LongRoPE needs it");
  if (found->second.dtype != DType::kF32 || found->second.shape != Shape({count})) {
    return InvalidInput(where + " is " + Name(found->second.dtype) + " " +
                        found->second.shape.ToString() + ", F32 " + Shape({count}).ToString() +
                        " is needed");
  }
  NPUMOE_ASSIGN_OR_RETURN(std::vector<double> exact, keys.metadata().Numbers(exact_key));
  const auto* usual = found->second.as<float>();
  for (int i = 0; i < count; ++i) {
    if (!(usual[i] > 0) || usual[i] > kMaxFactor) {
      return InvalidInput(where + " holds a factor that is not above 0 and at most 1e6");
    }
  }
  if (exact.empty()) return std::vector<double>(usual, usual + count);
  bool agree = exact.size() == static_cast<size_t>(count);
  for (size_t i = 0; agree && i < exact.size(); ++i) {
    agree = static_cast<float>(exact[i]) == usual[i];
  }
  if (agree) return exact;
  return keys.metadata().KeyError(exact_key, "it contradicts tensor '" + std::string(tensor) + "'");
}

Status ReadLongRope(const ArchitectureKeys& keys, const std::map<std::string, TensorView>& tensors,
                    ModelConfig& config) {
  LongRopeScaling rope;
  const int count = RotaryDims(config) / 2;
  NPUMOE_ASSIGN_OR_RETURN(rope.short_factors,
                          ReadFactors(keys, tensors, kGgufShortFactors, kShortFactorsKey, count));
  NPUMOE_ASSIGN_OR_RETURN(rope.long_factors,
                          ReadFactors(keys, tensors, kGgufLongFactors, kLongFactorsKey, count));
  NPUMOE_ASSIGN_OR_RETURN(
      rope.original_max_positions,
      keys.Dimension("rope.scaling.original_context_length", kMaxModelPositions));
  NPUMOE_ASSIGN_OR_RETURN(rope.long_attention_factor,
                          keys.Float("rope.scaling.attn_factor", 1e-6, kMaxFactor, 1.0f));
  NPUMOE_ASSIGN_OR_RETURN(
      const double short_factor,
      keys.metadata().Number(kShortFactorKey, 1e-6, kMaxFactor, rope.long_attention_factor));
  rope.short_attention_factor = static_cast<float>(short_factor);
  config.rope.scaling = std::move(rope);
  return OkStatus();
}

struct NeutralNumbers {
  const char* suffix;
  std::vector<double> values;
};

Status CheckNeutral(const ArchitectureKeys& keys, const NeutralNumbers& neutral) {
  const double usual = neutral.values.front();
  NPUMOE_ASSIGN_OR_RETURN(const double value,
                          keys.Number(neutral.suffix, -kMaxFactor, kMaxFactor, usual));
  if (std::ranges::find(neutral.values, value) != neutral.values.end()) return OkStatus();
  return Unsupported(keys.KeyError(neutral.suffix,
                                   "with this scaling of positions this build computes models "
                                   "where it is absent or " +
                                       std::to_string(static_cast<int>(usual)))
                         .message());
}

// What other engines compute with, and the formulas here do not.
Status RefuseUnusedKeys(const ArchitectureKeys& keys, const ModelConfig& config) {
  const bool yarn = std::holds_alternative<YarnScaling>(config.rope.scaling);
  const bool longrope = std::holds_alternative<LongRopeScaling>(config.rope.scaling);
  std::vector<NeutralNumbers> all = {{"rope.scaling.yarn_ext_factor", {1, -1}}};
  if (!yarn) all.front().values.push_back(0);  // no ramp: both ends of it are the same
  if (!longrope) all.push_back({"rope.scaling.attn_factor", {1}});
  if (!yarn || IsLatent(config)) all.push_back({"rope.scaling.yarn_attn_factor", {1}});
  if (!IsLatent(config)) all.push_back({"rope.scaling.yarn_log_multiplier", {0}});
  for (const NeutralNumbers& neutral : all) NPUMOE_RETURN_IF_ERROR(CheckNeutral(keys, neutral));
  // Granite's engines take it for a switch of the rotation; of others it tells a history.
  if (keys.architecture().name != "granitemoe") return OkStatus();
  const std::string finetuned = keys.Key("rope.scaling.finetuned");
  NPUMOE_ASSIGN_OR_RETURN(const bool turns, keys.metadata().Bool(finetuned, true));
  if (turns) return OkStatus();
  return Unsupported(
      keys.metadata()
          .KeyError(finetuned, "this build computes models with rotary positions, where it is true")
          .message());
}

// Linear scaling, under its present name and an older one.
Status RefuseLinearScaling(const ArchitectureKeys& keys, const std::string& type) {
  if (type != "none" && type != "linear" && type != "longrope") {
    return keys.KeyError("rope.scaling.type", "known are none, linear, yarn and longrope");
  }
  for (const char* key : {"rope.scaling.factor", "rope.scale_linear"}) {
    NPUMOE_ASSIGN_OR_RETURN(const double factor, keys.Number(key, 0.0, kMaxFactor, 1.0));
    if (factor != 1 && factor != 0) {
      return Unsupported(
          keys.KeyError(key, "this build supports no linear scaling of positions").message());
    }
  }
  return OkStatus();
}

Status ReadScaling(const ArchitectureKeys& keys, const std::map<std::string, TensorView>& tensors,
                   ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, keys.String("rope.scaling.type", "none"));
  if (type == "yarn") return ReadYarn(keys, config);
  NPUMOE_RETURN_IF_ERROR(RefuseLinearScaling(keys, type));
  const bool has_factors =
      tensors.contains(kGgufLongFactors) || tensors.contains(kGgufShortFactors);
  return has_factors || type == "longrope" ? ReadLongRope(keys, tensors, config) : OkStatus();
}

void AddFactors(const char* exact_key, const std::vector<double>& factors,
                GgufMetadataBuilder& builder) {
  bool is_exact = true;
  for (const double factor : factors) {
    is_exact = is_exact && double{static_cast<float>(factor)} == factor;
  }
  if (!is_exact) builder.AddF64s(exact_key, factors);
}

void AddYarn(const ModelConfig& config, const YarnScaling& yarn, ArchitectureKeyWriter& writer) {
  writer.Add("rope.scaling.type", std::string_view("yarn"));
  writer.Add("rope.scaling.factor", yarn.factor);
  writer.Add("rope.scaling.original_context_length", static_cast<int>(yarn.original_max_positions));
  writer.Add("rope.scaling.yarn_beta_fast", yarn.beta_fast);
  writer.Add("rope.scaling.yarn_beta_slow", yarn.beta_slow);
  writer.builder().AddF32(kYarnFactorKey, yarn.attention_factor);
  writer.builder().AddBool(kYarnTruncateKey, yarn.truncate);
  if (!IsLatent(config)) {
    const double ratio = yarn.attention_factor / YarnMagnitude(yarn.factor, 1.0);
    if (!NearlyEqual(ratio, 1.0)) writer.Add("rope.scaling.yarn_attn_factor", ratio);
    return;
  }
  const double magnitude =
      std::sqrt(double{config.attention.Scale()} * std::sqrt(config.attention.head_dim));
  if (config.attention.scale <= 0 || yarn.factor <= 1) return;
  // A scale that no multiplier explains stands in attention.scale alone.
  const double multiplier = (magnitude - 1) / std::log(yarn.factor);
  if (multiplier < 0 || multiplier > kMaxModelMultiplier) return;
  writer.Add("rope.scaling.yarn_log_multiplier", static_cast<float>(multiplier));
}

void AddLongRope(const LongRopeScaling& rope, ArchitectureKeyWriter& writer) {
  writer.Add("rope.scaling.type", std::string_view("longrope"));
  writer.Add("rope.scaling.original_context_length", static_cast<int>(rope.original_max_positions));
  writer.Add("rope.scaling.attn_factor", rope.long_attention_factor);
  if (rope.short_attention_factor != rope.long_attention_factor) {
    writer.builder().AddF32(kShortFactorKey, rope.short_attention_factor);
  }
  AddFactors(kShortFactorsKey, rope.short_factors, writer.builder());
  AddFactors(kLongFactorsKey, rope.long_factors, writer.builder());
}

}  // namespace

Status ReadGgufRope(const ArchitectureKeys& keys, const std::map<std::string, TensorView>& tensors,
                    ModelConfig& config) {
  const int rotary = RotaryDims(config);
  NPUMOE_ASSIGN_OR_RETURN(const int dims,
                          keys.Dimension("rope.dimension_count", kMaxModelWidth, rotary));
  if (dims != rotary) {
    return keys.KeyError("rope.dimension_count",
                         "this build turns all " + std::to_string(rotary) + " elements of a head");
  }
  NPUMOE_ASSIGN_OR_RETURN(config.rope.theta,
                          keys.Number("rope.freq_base", 1.0, kMaxTheta, 10'000.0));
  config.rope.pairs = keys.architecture().pairs;
  NPUMOE_RETURN_IF_ERROR(ReadScaling(keys, tensors, config));
  return RefuseUnusedKeys(keys, config);
}

void AddGgufRope(const ModelConfig& config, ArchitectureKeyWriter& writer) {
  writer.Add("rope.dimension_count", RotaryDims(config));
  writer.Add("rope.freq_base", config.rope.theta);
  if (const auto* yarn = std::get_if<YarnScaling>(&config.rope.scaling)) {
    AddYarn(config, *yarn, writer);
  }
  if (const auto* rope = std::get_if<LongRopeScaling>(&config.rope.scaling)) {
    AddLongRope(*rope, writer);
  }
}

}  // namespace npumoe
