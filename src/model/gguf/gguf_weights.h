// From the tensors of a GGUF to ModelWeights. Experts are slices of stacked tensors; views into the
// file wherever the file's layout is one that kernels read.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/status.h"
#include "base/tensor_view.h"
#include "model/config.h"
#include "model/gguf/architecture.h"
#include "model/weight_binding.h"
#include "model/weights.h"

namespace npumoe {

// Finds one logical tensor at a time.
class GgufWeightFinder {
 public:
  using FileOf = std::function<std::string(const std::string&)>;
  // All must outlive this. `file_of(name)`: the file that holds a tensor, for messages.
  GgufWeightFinder(const ModelConfig& config, const std::map<std::string, TensorView>& tensors,
                   FileOf file_of);

  struct Part {
    TensorView view;
    std::shared_ptr<const void> storage;  // null: a view into the file
  };
  // None: the file lacks a tensor that it may lack. Fails for a missing tensor that it needs and
  // for one of another shape or type.
  Result<std::optional<Part>> Find(const ExpectedTensor& expected);
  // After all were found: fails for a tensor that nobody asked for.
  Status RefuseLeftOver() const;

 private:
  Result<std::optional<Part>> FindExpert(const ExpectedTensor& expected);
  Result<std::optional<Part>> FindKeyValueUp(const ExpectedTensor& expected);
  Result<TensorView> Checked(const std::string& name, const Shape& shape, bool is_vector);
  const TensorView* Use(const std::string& name);  // null: absent
  Status Missing(const std::string& name, const Shape& shape) const;

  const ModelConfig& config_;
  const GgufArchitecture& architecture_;
  const std::map<std::string, TensorView>& tensors_;
  FileOf file_of_;
  std::set<std::string, std::less<>> used_;
};

// Calls `visit` for every tensor that a model with this config has, layer by layer, as
// ForEachExpectedTensor does; `name` is the GGUF's (of experts: of the stacked tensor).
Status ForEachGgufTensor(const ModelConfig& config,
                         const std::function<Status(const ExpectedTensor&)>& visit);

// `storage` of the result holds what had to be copied; the file's own is left to the caller.
Result<ModelWeights> BindGgufWeights(const ModelConfig& config,
                                     const std::map<std::string, TensorView>& tensors,
                                     const GgufWeightFinder::FileOf& file_of);

}  // namespace npumoe
