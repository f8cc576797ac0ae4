#include "model/gguf/gguf_weights.h"

#include <new>
#include <utility>

#include "base/check.h"
#include "model/gguf/gguf_config.h"
#include "model/gguf/split_key_value.h"

namespace npumoe {
namespace {

bool IsFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

bool IsExpertRole(TensorRole role) { return ScopeOf(role) == RoleScope::kExpert; }

// [experts, ...] of the stacked tensor.
Shape Stacked(int experts, const Shape& one) {
  if (one.rank() == 1) return Shape({experts, one[0]});
  return Shape({experts, one[0], one[1]});
}

// Matrices of one row may stand as vectors.
bool SameUpToRank(const Shape& found, const Shape& expected) {
  if (found == expected) return true;
  return expected.rank() == 2 && expected[0] == 1 && found == Shape({expected[1]});
}

// [first row, rows) of a matrix.
TensorView Rows(const TensorView& matrix, int64_t first, int64_t rows) {
  const size_t row_bytes = BytesOf(matrix.dtype, matrix.shape[1]);
  return {matrix.dtype, Shape({rows, matrix.shape[1]}),
          matrix.data + static_cast<size_t>(first) * row_bytes};
}

Status VisitRole(const GgufArchitecture& architecture, const ModelConfig& config, TensorRole role,
                 int layer, const std::function<Status(const ExpectedTensor&)>& visit) {
  if (!HasTensor(role, config, layer)) return OkStatus();
  ExpectedTensor tensor;
  tensor.name = GgufTensorName(architecture, role, layer);
  tensor.role = role;
  tensor.shape = ShapeOf(role, config);
  tensor.required = role != TensorRole::kLmHead || !config.tie_word_embeddings;
  tensor.layer = layer;
  const int first = IsSharedExpertRole(role) ? config.moe.num_experts : 0;
  const int count = IsExpertRole(role) ? config.moe.num_experts : 1;
  for (tensor.expert = first; tensor.expert < first + count; ++tensor.expert) {
    NPUMOE_RETURN_IF_ERROR(visit(tensor));
  }
  return OkStatus();
}

const GgufArchitecture& ArchitectureOf(const ModelConfig& config) {
  const GgufArchitecture* architecture = GgufArchitectureOfFamily(config.family);
  NPUMOE_CHECK(architecture != nullptr);
  return *architecture;
}

}  // namespace

Status ForEachGgufTensor(const ModelConfig& config,
                         const std::function<Status(const ExpectedTensor&)>& visit) {
  const GgufArchitecture& architecture = ArchitectureOf(config);
  for (const TensorRole role : AllTensorRoles()) {
    if (ScopeOf(role) != RoleScope::kModel) continue;
    NPUMOE_RETURN_IF_ERROR(VisitRole(architecture, config, role, 0, visit));
  }
  for (int layer = 0; layer < config.num_layers; ++layer) {
    for (const TensorRole role : AllTensorRoles()) {
      if (ScopeOf(role) == RoleScope::kModel) continue;
      NPUMOE_RETURN_IF_ERROR(VisitRole(architecture, config, role, layer, visit));
    }
  }
  return OkStatus();
}

GgufWeightFinder::GgufWeightFinder(const ModelConfig& config,
                                   const std::map<std::string, TensorView>& tensors, FileOf file_of)
    : config_(config),
      architecture_(ArchitectureOf(config)),
      tensors_(tensors),
      file_of_(std::move(file_of)) {
  if (std::holds_alternative<LongRopeScaling>(config.rope.scaling)) {
    used_ = {kGgufLongFactors, kGgufShortFactors};
  }
}

const TensorView* GgufWeightFinder::Use(const std::string& name) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return nullptr;
  used_.insert(name);
  return &found->second;
}

Status GgufWeightFinder::Missing(const std::string& name, const Shape& shape) const {
  return NotFound(file_of_(name) + ": tensor '" + name + "' " + shape.ToString() +
                  " is missing, the metadata calls for it; download the model again");
}

Result<TensorView> GgufWeightFinder::Checked(const std::string& name, const Shape& shape,
                                             bool is_vector) {
  const TensorView* found = Use(name);
  if (found == nullptr) return Missing(name, shape);
  const std::string where = file_of_(name) + ": tensor '" + name + "'";
  if (!IsFloat(found->dtype) && (is_vector || !IsQuantized(found->dtype))) {
    return Unsupported(where + " has type " + Name(found->dtype) +
                       (is_vector ? ", norms and biases may be F32, F16 or BF16"
                                  : ", weights may be floats or quantised blocks"));
  }
  if (SameUpToRank(found->shape, shape)) return TensorView{found->dtype, shape, found->data};
  return InvalidInput(where + " has shape " + found->shape.ToString() + ", the metadata makes it " +
                      shape.ToString() + "; the file is damaged or was put together wrongly");
}

// Stacked with the others, in one tensor with its gate or up, or, in old files, by itself.
Result<std::optional<GgufWeightFinder::Part>> GgufWeightFinder::FindExpert(
    const ExpectedTensor& expected) {
  const int experts = config_.moe.num_experts;
  const bool is_vector = expected.shape.rank() == 1;
  const std::string single = GgufSingleExpertName(expected.role, expected.layer, expected.expert);
  if (!tensors_.contains(expected.name)) {
    const std::string fused = "blk." + std::to_string(expected.layer) + ".ffn_gate_up_exps.weight";
    const bool is_gate = expected.role == TensorRole::kExpertGate;
    if ((is_gate || expected.role == TensorRole::kExpertUp) && tensors_.contains(fused)) {
      const int64_t rows = expected.shape[0];
      NPUMOE_ASSIGN_OR_RETURN(const TensorView both,
                              Checked(fused, Shape({experts, 2 * rows, expected.shape[1]}), false));
      return std::optional(Part{Rows(both.Slice(expected.expert), is_gate ? 0 : rows, rows), {}});
    }
    if (!single.empty() && tensors_.contains(single)) {
      NPUMOE_ASSIGN_OR_RETURN(const TensorView view, Checked(single, expected.shape, false));
      return std::optional(Part{view, {}});
    }
  }
  NPUMOE_ASSIGN_OR_RETURN(const TensorView stack,
                          Checked(expected.name, Stacked(experts, expected.shape), is_vector));
  return std::optional(Part{stack.Slice(expected.expert), {}});
}

// Whole, or split into keys and values.
Result<std::optional<GgufWeightFinder::Part>> GgufWeightFinder::FindKeyValueUp(
    const ExpectedTensor& expected) {
  const std::string block = "blk." + std::to_string(expected.layer) + ".";
  const TensorView* keys = Use(block + "attn_k_b.weight");
  const TensorView* values = Use(block + "attn_v_b.weight");
  if (tensors_.contains(expected.name) || keys == nullptr || values == nullptr) {
    NPUMOE_ASSIGN_OR_RETURN(const TensorView view, Checked(expected.name, expected.shape, false));
    return std::optional(Part{view, {}});
  }
  NPUMOE_ASSIGN_OR_RETURN(JoinedKeyValue joined,
                          JoinKeyValue(config_.attention, *keys, *values,
                                       file_of_(block + "attn_k_b.weight") + ": tensors '" + block +
                                           "attn_k_b.weight'"
                                           " and '" +
                                           block + "attn_v_b.weight'"));
  return std::optional(Part{joined.view, std::move(joined.storage)});
}

Result<std::optional<GgufWeightFinder::Part>> GgufWeightFinder::Find(
    const ExpectedTensor& expected) {
  if (IsExpertRole(expected.role)) return FindExpert(expected);
  if (expected.role == TensorRole::kKeyValueUp) return FindKeyValueUp(expected);
  if (!expected.required && !tensors_.contains(expected.name)) return std::optional<Part>();
  NPUMOE_ASSIGN_OR_RETURN(const TensorView view,
                          Checked(expected.name, expected.shape, expected.shape.rank() == 1));
  return std::optional(Part{view, {}});
}

Status GgufWeightFinder::RefuseLeftOver() const {
  for (const auto& [name, view] : tensors_) {
    if (used_.contains(name)) continue;
    return InvalidInput(file_of_(name) + ": tensor '" + name + "' (" + Name(view.dtype) + " " +
                        view.shape.ToString() + ") has no place in a " +
                        std::string(architecture_.name) +
                        " model with this metadata; computing without it would give other results");
  }
  return OkStatus();
}

Result<ModelWeights> BindGgufWeights(const ModelConfig& config,
                                     const std::map<std::string, TensorView>& tensors,
                                     const GgufWeightFinder::FileOf& file_of) {
  GgufWeightFinder finder(config, tensors, file_of);
  ModelWeights weights;
  const auto bind = [&](const ExpectedTensor& expected) -> Status {
    NPUMOE_ASSIGN_OR_RETURN(const auto part, finder.Find(expected));
    if (!part) return OkStatus();
    PlaceTensor(expected, part->view, weights);
    if (part->storage) weights.storage.push_back(part->storage);
    return OkStatus();
  };
  try {
    NPUMOE_RETURN_IF_ERROR(ForEachGgufTensor(config, bind));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(
        "no memory for the weights that must be put together when the model "
        "is loaded");
  }
  NPUMOE_RETURN_IF_ERROR(finder.RefuseLeftOver());
  if (weights.lm_head.empty()) weights.lm_head = weights.embedding;
  return weights;
}

}  // namespace npumoe
