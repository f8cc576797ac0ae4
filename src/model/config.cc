#include "model/config.h"

#include <cmath>

#include "model/families/family.h"

namespace npumoe {
namespace {

// Chosen: a thousand times the largest published model. Keeps every later product in 64 bits.
constexpr double kMaxModelParameters = 1e15;

// Counts are made in doubles, which hold integers exactly up to 9e15 and cannot overflow: the
// limit above is checked with them before anything trusts an int64.
double AttentionParameters(const ModelConfig& config) {
  const AttentionConfig& a = config.attention;
  const double hidden = config.hidden_size;
  const double query = a.query_size();
  const double key_value = a.kv_size();
  double total = 2 * hidden + hidden * (2 * query + 2 * key_value);  // both norms; q, k, v, o
  if (a.projection_bias) total += query + 2 * key_value;
  if (a.output_bias) total += hidden;
  if (a.qk_norm == QkNorm::kPerHead) total += 2.0 * a.head_dim;
  return total;
}

double SwiGluParameters(double hidden, double intermediate) { return 3 * hidden * intermediate; }

// Parameters with `experts` experts counted in each MoE layer.
double Parameters(const ModelConfig& config, int experts) {
  const double hidden = config.hidden_size;
  const double embedding = config.vocab_size * hidden;
  const double moe_layers = static_cast<double>(config.MoeLayers().size());
  const double dense_layers = config.num_layers - moe_layers;
  const double moe = config.moe.num_experts * hidden +
                     experts * SwiGluParameters(hidden, config.moe.expert_intermediate_size);
  const double dense = SwiGluParameters(hidden, config.dense_intermediate_size);
  return (config.tie_word_embeddings ? 1 : 2) * embedding + hidden +
         config.num_layers * AttentionParameters(config) + moe_layers * moe + dense_layers * dense;
}

std::string KnownModelTypes() {
  std::string known;
  for (const ModelFamily* family : AllFamilies()) {
    if (!known.empty()) known += ", ";
    known += family->model_type;
  }
  return known;
}

}  // namespace

float AttentionConfig::Scale() const {
  return scale > 0 ? scale : 1.0f / std::sqrt(static_cast<float>(head_dim));
}

int64_t AttentionConfig::WindowOf(int layer) const {
  const auto index = static_cast<size_t>(layer);
  const bool applies = layer_has_window.empty() || layer_has_window[index];
  return applies ? window_tokens : 0;
}

std::vector<int> ModelConfig::MoeLayers() const {
  std::vector<int> layers;
  for (size_t i = 0; i < is_moe_layer.size(); ++i) {
    if (is_moe_layer[i]) layers.push_back(static_cast<int>(i));
  }
  return layers;
}

int64_t ModelConfig::TotalParameters() const {
  return static_cast<int64_t>(Parameters(*this, moe.num_experts));
}

int64_t ModelConfig::ActiveParameters() const {
  return static_cast<int64_t>(Parameters(*this, moe.experts_per_token));
}

int64_t ModelConfig::ExpertParameters() const {
  return static_cast<int64_t>(SwiGluParameters(hidden_size, moe.expert_intermediate_size));
}

Result<ModelConfig> ParseModelConfig(const Json& config_json, const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject json, JsonObject::From(config_json, name));
  NPUMOE_ASSIGN_OR_RETURN(const std::string model_type, json.String("model_type"));
  const ModelFamily* family = FindFamily(model_type);
  if (family == nullptr) {
    return Unsupported(name + ": field 'model_type': '" + model_type +
                       "' is not known to this build, which knows " + KnownModelTypes());
  }
  NPUMOE_ASSIGN_OR_RETURN(ModelConfig config, family->read_config(json));
  config.family = model_type;
  const double parameters = Parameters(config, config.moe.num_experts);
  if (parameters > kMaxModelParameters) {
    return InvalidInput(name + ": its sizes together make " + std::to_string(parameters / 1e9) +
                        " billion parameters, more than any model has; the file is broken");
  }
  return config;
}

}  // namespace npumoe
