// Experts that a file keeps together in one tensor: finds the part of one expert and one role.
// Views where the layout allows them, else (transposed, alternating rows, MXFP4 in two tensors)
// copies, one expert at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/tensor_view.h"
#include "model/families/family.h"
#include "model/weight_binding.h"

namespace npumoe {

struct FusedPart {
  TensorView view;
  std::shared_ptr<const void> storage;  // null: a view into the file
  std::vector<std::string> sources;     // the tensors of the file that it came from
};

// None: no fused tensor of this file holds it. Fails where one does but has another shape or type.
Result<std::optional<FusedPart>> FindFusedPart(
    const ModelFamily& family, const ModelConfig& config, const ExpectedTensor& expected,
    const std::map<std::string, TensorView>& tensors,
    const std::function<std::string(const std::string&)>& file_of);

// The name of the fused tensor that would hold it, or empty.
std::string FusedNameOf(const ModelFamily& family, const ExpectedTensor& expected);

// 32 values as safetensors files keep them (elements 2j and 2j + 1 in byte j, the first in the low
// nibble) as a GGUF block: the exponent, then elements j and j + 16 in byte j.
void RepackMxfp4Block(const std::byte* nibbles, std::byte exponent, std::byte* block);

}  // namespace npumoe
