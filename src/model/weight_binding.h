// From named tensors to ModelWeights: expands a family's table of tensor names (families/family.h)
// for one config, and binds what files hold to it, checking every name, type and shape.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/status.h"
#include "base/tensor_view.h"
#include "model/config.h"
#include "model/families/family.h"
#include "model/weights.h"

namespace npumoe {

// One tensor that a model with this config has.
struct ExpectedTensor {
  std::string name;
  TensorRole role;
  Shape shape;
  bool required = true;
  int layer = 0;   // 0 for tensors outside the layers
  int expert = 0;  // num_experts for the shared expert; 0 for tensors outside the experts
};

// "{layer}" and "{expert}" of a table's name replaced by the indices.
std::string ExpandName(std::string_view name, int layer, int expert);

// Calls `visit` for every tensor, layer by layer; stops at the first error and returns it. Tensors
// are logical ones, whatever layout a file has: every expert's gate, up and down for itself, the
// shared expert's (after them) under their own roles, matrices [out, in].
Status ForEachExpectedTensor(const ModelFamily& family, const ModelConfig& config,
                             const std::function<Status(const ExpectedTensor&)>& visit);

// The name under which a folder's files have a tensor of this role, or under which we write it.
std::string NameOf(const ModelFamily& family, TensorRole role, int layer, int expert);

// A logical tensor in a folder's files: a view into them, or a copy that `storage` keeps alive.
struct FoundTensor {
  TensorView view;
  std::shared_ptr<const void> storage;  // null: a view
  std::vector<std::string> sources;     // the tensors of the files that it came from
};
// None: the files lack a tensor that they may lack. Fails for one that is missing, or that has
// another shape or a type other than F32, F16, BF16 and the MXFP4 blocks of gpt_oss.
Result<std::optional<FoundTensor>> FindWeight(
    const ModelFamily& family, const ModelConfig& config, const ExpectedTensor& expected,
    const std::map<std::string, TensorView>& tensors, const std::string& source,
    const std::function<std::string(const std::string&)>& file_of);
// Fails for a tensor that is not in `bound` and not one that the family ignores.
Status RefuseLeftOver(const ModelFamily& family, const std::map<std::string, TensorView>& tensors,
                      const std::unordered_set<std::string>& bound,
                      const std::function<std::string(const std::string&)>& file_of);

// Puts `view` where `tensor.role` belongs. Layers and experts grow as tensors arrive, so that
// memory follows what is there, not what a config claims (place the shared expert last).
void PlaceTensor(const ExpectedTensor& tensor, const TensorView& view, ModelWeights& weights);
// What stands there; null: nothing does.
const TensorView* PlacedTensor(const ExpectedTensor& tensor, const ModelWeights& weights);

// `file_of(name)`: the file that holds a tensor, for messages; `source` names the model where
// there is no such file. Fails for a tensor that is missing, left over, or has another shape or a
// type other than F32, F16 and BF16. Experts may stand together in fused tensors; `storage` of the
// result keeps the copies that some of those need, what `tensors` view is left to the caller.
Result<ModelWeights> BindWeights(const ModelConfig& config,
                                 const std::map<std::string, TensorView>& tensors,
                                 const std::string& source,
                                 const std::function<std::string(const std::string&)>& file_of);

}  // namespace npumoe
