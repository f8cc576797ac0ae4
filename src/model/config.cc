#include "model/config.h"

#include <cmath>

#include "model/families/family.h"

namespace npumoe {
namespace {

// Chosen: a thousand times the largest published model. Keeps every later product in 64 bits.
constexpr double kMaxModelParameters = 1e15;

// Counts are made in doubles, which hold integers exactly up to 9e15 and cannot overflow: the
// limit above is checked with them before anything trusts an int64.
double Elements(TensorRole role, const ModelConfig& config) {
  const Shape shape = ShapeOf(role, config);  // axes() views it
  double elements = 1;
  for (const int64_t length : shape.axes()) {
    elements *= static_cast<double>(length);
  }
  return elements;
}

// Parameters of one layer with `experts` of its experts counted; layers of a kind are alike.
double LayerParameters(const ModelConfig& config, int layer, int experts) {
  double total = 0;
  for (const TensorRole role : AllTensorRoles()) {
    if (ScopeOf(role) == RoleScope::kModel || !HasTensor(role, config, layer)) continue;
    total += Elements(role, config) * (ScopeOf(role) == RoleScope::kExpert ? experts : 1);
  }
  return total;
}

double Parameters(const ModelConfig& config, int experts) {
  double total = 0;
  for (const TensorRole role : AllTensorRoles()) {
    if (ScopeOf(role) != RoleScope::kModel || !HasTensor(role, config, 0)) continue;
    if (role == TensorRole::kLmHead && config.tie_word_embeddings) continue;
    total += Elements(role, config);
  }
  std::optional<double> of_kind[2];
  for (int layer = 0; layer < config.num_layers; ++layer) {
    std::optional<double>& of_layer = of_kind[config.is_moe_layer[static_cast<size_t>(layer)]];
    if (!of_layer) of_layer = LayerParameters(config, layer, experts);
    total += *of_layer;
  }
  return total;
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
  double total = 3.0 * hidden_size * moe.expert_intermediate_size;
  if (moe.expert_bias) total += 2.0 * moe.expert_intermediate_size + hidden_size;
  return static_cast<int64_t>(total);
}

Status CheckModelSize(const ModelConfig& config, const std::string& name) {
  const double parameters = Parameters(config, config.moe.num_experts);
  if (parameters <= kMaxModelParameters) return OkStatus();
  return InvalidInput(name + ": its sizes together make " + std::to_string(parameters / 1e9) +
                      " billion parameters, more than any model has; the file is broken");
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
  NPUMOE_RETURN_IF_ERROR(CheckModelSize(config, name));
  return config;
}

}  // namespace npumoe
