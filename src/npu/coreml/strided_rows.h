// Copies between memory without gaps, as the engine has it, and arrays whose rows are padded, as
// Core ML may have them.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/status.h"
#include "base/tensor_view.h"
#include "npu/coreml/coreml_bridge.h"

namespace npumoe::coreml_device {

// Row-major without gaps: the memory may be used as it is. Axes of length 1 have any stride.
bool IsDense(const ArrayLayout& layout);
int64_t ElementsOf(const ArrayLayout& layout);
// Type and shape are as wanted, and no element lies outside of `memory_bytes`. `what` starts the
// message.
Status CheckLayout(const ArrayLayout& layout, const TensorSpec& wanted, size_t memory_bytes,
                   const std::string& what);

// `dense` has exactly the array's elements; the layout has passed CheckLayout.
void CopyToStrided(std::span<const std::byte> dense, const ArrayLayout& layout, std::byte* array);
void CopyFromStrided(const ArrayLayout& layout, const std::byte* array, std::span<std::byte> dense);

}  // namespace npumoe::coreml_device
