// Weights for programs: fp16, made from the type that the model's file has. The bulk kernels live
// in kernels/convert, which the planner's room may not use; compiling is rare and reads every
// weight once, so a plain loop that compilers vectorise is enough here.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/status.h"
#include "base/tensor_view.h"

namespace npumoe {

// Writes `weights` (F32, F16, BF16 or quantised) as fp16 to `bytes` (2 bytes each, any alignment),
// rounded to nearest even. Fails for NaN and for what rounds beyond 65504, naming `what` and the
// element.
Status WriteAsFp16(const TensorView& weights, const std::string& what, std::span<std::byte> bytes);

}  // namespace npumoe
