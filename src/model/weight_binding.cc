#include "model/weight_binding.h"

#include <new>
#include <string_view>
#include <unordered_set>

#include "model/fused_experts.h"

namespace npumoe {
namespace {

constexpr std::string_view kLayerMark = "{layer}";
constexpr std::string_view kExpertMark = "{expert}";

void Replace(std::string& name, std::string_view mark, int value) {
  if (const size_t at = name.find(mark); at != name.npos) {
    name.replace(at, mark.size(), std::to_string(value));
  }
}

// The tensors of one name in one layer (layer 0 for those outside the layers).
Status VisitName(const TensorName& entry, const ModelConfig& config, int layer,
                 const std::function<Status(const ExpectedTensor&)>& visit) {
  if (!HasTensor(entry.role, config, layer)) return OkStatus();
  ExpectedTensor tensor;
  tensor.role = entry.role;
  tensor.shape = ShapeOf(entry.role, config);
  tensor.required = entry.role != TensorRole::kLmHead || !config.tie_word_embeddings;
  tensor.layer = layer;
  const bool per_expert = ScopeOf(entry.role) == RoleScope::kExpert;
  const int first = IsSharedExpertRole(entry.role) ? config.moe.num_experts : 0;
  const int count = per_expert ? config.moe.num_experts : 1;
  for (tensor.expert = first; tensor.expert < first + count; ++tensor.expert) {
    tensor.name = ExpandName(entry.name, layer, tensor.expert);
    NPUMOE_RETURN_IF_ERROR(visit(tensor));
  }
  return OkStatus();
}

// The first name of every role that has this scope, or, for layers, any narrower one.
std::vector<TensorName> FirstNames(const ModelFamily& family, bool in_layers) {
  std::vector<TensorName> names;
  std::vector<bool> seen(AllTensorRoles().size());
  for (const std::span<const TensorName> table : family.tensors) {
    for (const TensorName& entry : table) {
      if ((ScopeOf(entry.role) != RoleScope::kModel) != in_layers) continue;
      if (seen[static_cast<size_t>(entry.role)]) continue;
      seen[static_cast<size_t>(entry.role)] = true;
      names.push_back(entry);
    }
  }
  return names;
}

bool IsWeightType(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

using FileOf = std::function<std::string(const std::string&)>;
using Tensors = std::map<std::string, TensorView>;
using NameSet = std::unordered_set<std::string>;

Status CheckTensor(const ExpectedTensor& expected, const std::string& name, const TensorView& found,
                   const FileOf& file_of) {
  if (found.shape == expected.shape && IsWeightType(found.dtype)) return OkStatus();
  const std::string where = file_of(name) + ": tensor '" + name + "'";
  if (!IsWeightType(found.dtype)) {
    return Unsupported(where + " has type " + Name(found.dtype) +
                       ", weights may be F32, F16 or BF16; use a model that is not quantized");
  }
  return InvalidInput(where + " has shape " + found.shape.ToString() + ", config.json makes it " +
                      expected.shape.ToString() +
                      "; the files belong to different models, or one of them is damaged");
}

Status MissingTensor(const std::string& source, const ModelFamily& family,
                     const ExpectedTensor& expected) {
  const std::string fused = FusedNameOf(family, expected);
  return NotFound(source + ": tensor '" + expected.name + "' " + expected.shape.ToString() +
                  " is missing from the weights" +
                  (fused.empty() ? "" : ", and so is '" + fused + "' for all experts") +
                  "; config.json calls for it; download the model again or check the config.json");
}

bool IsIgnored(const ModelFamily& family, const std::string& name) {
  for (const std::string_view suffix : family.ignored_suffixes) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

// A tensor of this role under any of its spellings; the end of `tensors` when there is none.
Tensors::const_iterator FindTensor(const ModelFamily& family, const ExpectedTensor& expected,
                                   const Tensors& tensors) {
  const auto found = tensors.find(expected.name);
  if (found != tensors.end()) return found;
  for (const std::span<const TensorName> table : family.tensors) {
    for (const TensorName& entry : table) {
      if (entry.role != expected.role) continue;
      const auto other = tensors.find(ExpandName(entry.name, expected.layer, expected.expert));
      if (other != tensors.end()) return other;
    }
  }
  return tensors.end();
}

struct Binding {
  const ModelFamily& family;
  const ModelConfig& config;
  const Tensors& tensors;
  const std::string& source;
  const FileOf& file_of;
  ModelWeights weights = {};
  NameSet bound = {};

  Status Bind(const ExpectedTensor& expected) {
    NPUMOE_ASSIGN_OR_RETURN(std::optional<FoundTensor> found,
                            FindWeight(family, config, expected, tensors, source, file_of));
    if (!found) return OkStatus();
    PlaceTensor(expected, found->view, weights);
    if (found->storage) weights.storage.push_back(std::move(found->storage));
    for (std::string& name : found->sources) bound.insert(std::move(name));
    return OkStatus();
  }
};

}  // namespace

std::string ExpandName(std::string_view name, int layer, int expert) {
  std::string expanded(name);
  Replace(expanded, kLayerMark, layer);
  Replace(expanded, kExpertMark, expert);
  return expanded;
}

Status ForEachExpectedTensor(const ModelFamily& family, const ModelConfig& config,
                             const std::function<Status(const ExpectedTensor&)>& visit) {
  NPUMOE_CHECK(config.is_moe_layer.size() == static_cast<size_t>(config.num_layers));
  for (const TensorName& entry : FirstNames(family, false)) {
    NPUMOE_RETURN_IF_ERROR(VisitName(entry, config, 0, visit));
  }
  const std::vector<TensorName> in_layers = FirstNames(family, true);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    for (const TensorName& entry : in_layers) {
      NPUMOE_RETURN_IF_ERROR(VisitName(entry, config, layer, visit));
    }
  }
  return OkStatus();
}

std::string NameOf(const ModelFamily& family, TensorRole role, int layer, int expert) {
  for (const std::span<const TensorName> table : family.tensors) {
    for (const TensorName& entry : table) {
      if (entry.role == role) return ExpandName(entry.name, layer, expert);
    }
  }
  return {};
}

Result<std::optional<FoundTensor>> FindWeight(const ModelFamily& family, const ModelConfig& config,
                                              const ExpectedTensor& expected,
                                              const Tensors& tensors, const std::string& source,
                                              const FileOf& file_of) {
  const auto found = FindTensor(family, expected, tensors);
  if (found != tensors.end()) {
    NPUMOE_RETURN_IF_ERROR(CheckTensor(expected, found->first, found->second, file_of));
    return std::optional(FoundTensor{found->second, nullptr, {found->first}});
  }
  NPUMOE_ASSIGN_OR_RETURN(std::optional<FusedPart> part,
                          FindFusedPart(family, config, expected, tensors, file_of));
  if (part) {
    return std::optional(
        FoundTensor{part->view, std::move(part->storage), std::move(part->sources)});
  }
  if (expected.required) return MissingTensor(source, family, expected);
  return std::optional<FoundTensor>();
}

Status RefuseLeftOver(const ModelFamily& family, const Tensors& tensors,
                      const std::unordered_set<std::string>& bound, const FileOf& file_of) {
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

Result<ModelWeights> BindWeights(const ModelConfig& config, const Tensors& tensors,
                                 const std::string& source, const FileOf& file_of) {
  const ModelFamily* family = FindFamily(config.family);
  NPUMOE_CHECK(family != nullptr);
  Binding binding{*family, config, tensors, source, file_of};
  try {
    NPUMOE_RETURN_IF_ERROR(ForEachExpectedTensor(
        *family, config,
        [&binding](const ExpectedTensor& expected) { return binding.Bind(expected); }));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(source +
                             ": no memory for the experts that must be copied out of fused "
                             "tensors; convert the model to GGUF on a larger machine");
  }
  NPUMOE_RETURN_IF_ERROR(RefuseLeftOver(*family, tensors, binding.bound, file_of));
  ModelWeights& weights = binding.weights;
  if (weights.lm_head.empty()) weights.lm_head = weights.embedding;
  return std::move(weights);
}

}  // namespace npumoe
