#include "model/weight_binding.h"

#include <string_view>
#include <unordered_set>

namespace npumoe {
namespace {

int64_t AxisLength(TensorAxis axis, const ModelConfig& config) {
  switch (axis) {
    case TensorAxis::kNone:
      break;
    case TensorAxis::kVocab:
      return config.vocab_size;
    case TensorAxis::kHidden:
      return config.hidden_size;
    case TensorAxis::kQuery:
      return config.attention.query_size();
    case TensorAxis::kKeyValue:
      return config.attention.kv_size();
    case TensorAxis::kHeadDim:
      return config.attention.head_dim;
    case TensorAxis::kExperts:
      return config.moe.num_experts;
    case TensorAxis::kExpertIntermediate:
      return config.moe.expert_intermediate_size;
    case TensorAxis::kDenseIntermediate:
      return config.dense_intermediate_size;
  }
  return 0;
}

Shape ShapeOf(const TensorPattern& pattern, const ModelConfig& config) {
  const int64_t rows = AxisLength(pattern.axes[0], config);
  if (pattern.axes[1] == TensorAxis::kNone) return Shape({rows});
  return Shape({rows, AxisLength(pattern.axes[1], config)});
}

constexpr std::string_view kLayerMark = "{layer}";
constexpr std::string_view kExpertMark = "{expert}";

std::string Expand(std::string name, std::string_view mark, int value) {
  if (const size_t at = name.find(mark); at != name.npos) {
    name.replace(at, mark.size(), std::to_string(value));
  }
  return name;
}

bool IsPerLayer(const TensorPattern& pattern) {
  return pattern.name.find(kLayerMark) != pattern.name.npos;
}

bool IsPresent(const TensorPattern& pattern, const ModelConfig& config, int layer) {
  switch (pattern.presence) {
    case TensorPresence::kAlways:
    case TensorPresence::kUnlessTied:
      return true;
    case TensorPresence::kProjectionBias:
      return config.attention.projection_bias;
    case TensorPresence::kOutputBias:
      return config.attention.output_bias;
    case TensorPresence::kHeadNorm:
      return config.attention.qk_norm != QkNorm::kNone;
    case TensorPresence::kMoeLayer:
      return config.is_moe_layer[static_cast<size_t>(layer)];
    case TensorPresence::kDenseLayer:
      return !config.is_moe_layer[static_cast<size_t>(layer)];
  }
  return false;
}

// All tensors of one pattern in one layer (layer 0 for those outside the layers).
Status VisitPattern(const TensorPattern& pattern, const ModelConfig& config, int layer,
                    const std::function<Status(const ExpectedTensor&)>& visit) {
  if (!IsPresent(pattern, config, layer)) return OkStatus();
  const std::string name = Expand(std::string(pattern.name), kLayerMark, layer);
  const bool per_expert = name.find(kExpertMark) != name.npos;
  ExpectedTensor tensor;
  tensor.role = pattern.role;
  tensor.shape = ShapeOf(pattern, config);
  tensor.required = pattern.presence != TensorPresence::kUnlessTied || !config.tie_word_embeddings;
  tensor.layer = layer;
  const int count = per_expert ? config.moe.num_experts : 1;
  for (tensor.expert = 0; tensor.expert < count; ++tensor.expert) {
    tensor.name = Expand(name, kExpertMark, tensor.expert);
    NPUMOE_RETURN_IF_ERROR(visit(tensor));
  }
  return OkStatus();
}

TensorView* SlotInExpert(const ExpectedTensor& tensor, LayerWeights& layer) {
  const auto expert = static_cast<size_t>(tensor.expert);
  if (layer.experts.size() <= expert) layer.experts.resize(expert + 1);
  FfnWeights& ffn = layer.experts[expert];
  if (tensor.role == TensorRole::kExpertGate) return &ffn.gate;
  return tensor.role == TensorRole::kExpertUp ? &ffn.up : &ffn.down;
}

TensorView* SlotInLayer(const ExpectedTensor& tensor, LayerWeights& layer) {
  switch (tensor.role) {
    case TensorRole::kAttentionNorm:
      return &layer.attention_norm;
    case TensorRole::kFfnNorm:
      return &layer.ffn_norm;
    case TensorRole::kQ:
      return &layer.attention.q;
    case TensorRole::kK:
      return &layer.attention.k;
    case TensorRole::kV:
      return &layer.attention.v;
    case TensorRole::kO:
      return &layer.attention.o;
    case TensorRole::kQBias:
      return &layer.attention.q_bias;
    case TensorRole::kKBias:
      return &layer.attention.k_bias;
    case TensorRole::kVBias:
      return &layer.attention.v_bias;
    case TensorRole::kOBias:
      return &layer.attention.o_bias;
    case TensorRole::kQNorm:
      return &layer.attention.q_norm;
    case TensorRole::kKNorm:
      return &layer.attention.k_norm;
    case TensorRole::kRouter:
      return &layer.router;
    case TensorRole::kDenseGate:
      return &layer.dense.gate;
    case TensorRole::kDenseUp:
      return &layer.dense.up;
    case TensorRole::kDenseDown:
      return &layer.dense.down;
    default:
      return SlotInExpert(tensor, layer);
  }
}

TensorView* Slot(const ExpectedTensor& tensor, ModelWeights& weights) {
  switch (tensor.role) {
    case TensorRole::kEmbedding:
      return &weights.embedding;
    case TensorRole::kFinalNorm:
      return &weights.final_norm;
    case TensorRole::kLmHead:
      return &weights.lm_head;
    default:
      break;
  }
  const auto layer = static_cast<size_t>(tensor.layer);
  if (weights.layers.size() <= layer) weights.layers.resize(layer + 1);
  return SlotInLayer(tensor, weights.layers[layer]);
}

bool IsWeightType(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

using FileOf = std::function<std::string(const std::string&)>;

Status CheckTensor(const ExpectedTensor& expected, const TensorView& found, const FileOf& file_of) {
  if (found.shape == expected.shape && IsWeightType(found.dtype)) return OkStatus();
  const std::string where = file_of(expected.name) + ": tensor '" + expected.name + "'";
  if (!IsWeightType(found.dtype)) {
    return Unsupported(where + " has type " + Name(found.dtype) +
                       ", weights may be F32, F16 or BF16; use a model that is not quantized");
  }
  return InvalidInput(where + " has shape " + found.shape.ToString() + ", config.json makes it " +
                      expected.shape.ToString() +
                      "; the files belong to different models, or one of them is damaged");
}

Status MissingTensor(const std::string& source, const ExpectedTensor& expected) {
  return NotFound(source + ": tensor '" + expected.name + "' " + expected.shape.ToString() +
                  " is missing from the weights, config.json calls for it; download the model "
                  "again or check the config.json");
}

bool IsIgnored(const ModelFamily& family, const std::string& name) {
  for (const std::string_view suffix : family.ignored_suffixes) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

using NameSet = std::unordered_set<std::string_view>;

Status RefuseLeftOver(const ModelFamily& family, const std::map<std::string, TensorView>& tensors,
                      const NameSet& bound, const FileOf& file_of) {
  for (const auto& [name, view] : tensors) {
    if (bound.contains(name) || IsIgnored(family, name)) continue;
    return InvalidInput(file_of(name) + ": tensor '" + name + "' (" + Name(view.dtype) + " " +
                        view.shape.ToString() + ") has no place in a " +
                        std::string(family.model_type) +
                        " model with this config.json; computing without it would give other "
                        "results, so use the config.json that belongs to the weights");
  }
  return OkStatus();
}

}  // namespace

Status ForEachExpectedTensor(const ModelFamily& family, const ModelConfig& config,
                             const std::function<Status(const ExpectedTensor&)>& visit) {
  NPUMOE_CHECK(config.is_moe_layer.size() == static_cast<size_t>(config.num_layers));
  for (const TensorPattern& pattern : family.tensors) {
    if (!IsPerLayer(pattern)) NPUMOE_RETURN_IF_ERROR(VisitPattern(pattern, config, 0, visit));
  }
  for (int layer = 0; layer < config.num_layers; ++layer) {
    for (const TensorPattern& pattern : family.tensors) {
      if (IsPerLayer(pattern)) NPUMOE_RETURN_IF_ERROR(VisitPattern(pattern, config, layer, visit));
    }
  }
  return OkStatus();
}

void PlaceTensor(const ExpectedTensor& tensor, const TensorView& view, ModelWeights& weights) {
  *Slot(tensor, weights) = view;
}

Result<ModelWeights> BindWeights(const ModelConfig& config,
                                 const std::map<std::string, TensorView>& tensors,
                                 const std::string& source,
                                 const std::function<std::string(const std::string&)>& file_of) {
  const ModelFamily* family = FindFamily(config.family);
  NPUMOE_CHECK(family != nullptr);
  ModelWeights weights;
  NameSet bound;
  const auto bind = [&](const ExpectedTensor& expected) -> Status {
    const auto found = tensors.find(expected.name);
    if (found == tensors.end()) {
      return expected.required ? MissingTensor(source, expected) : OkStatus();
    }
    NPUMOE_RETURN_IF_ERROR(CheckTensor(expected, found->second, file_of));
    PlaceTensor(expected, found->second, weights);
    bound.insert(found->first);
    return OkStatus();
  };
  NPUMOE_RETURN_IF_ERROR(ForEachExpectedTensor(*family, config, bind));
  NPUMOE_RETURN_IF_ERROR(RefuseLeftOver(*family, tensors, bound, file_of));
  if (weights.lm_head.empty()) weights.lm_head = weights.embedding;
  return weights;
}

}  // namespace npumoe
