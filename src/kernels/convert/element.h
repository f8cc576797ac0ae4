// One element of a float tensor as fp32: for reference kernels and cold paths only.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "base/dtype.h"
#include "base/tensor_view.h"

namespace npumoe {

inline float ElementAsF32(const TensorView& tensor, int64_t index) {
  switch (tensor.dtype) {
    case DType::kF32:
      return tensor.as<float>()[index];
    case DType::kF16:
      return F32FromF16(tensor.as<uint16_t>()[index]);
    case DType::kBF16:
      return F32FromBF16(tensor.as<uint16_t>()[index]);
    default:
      NPUMOE_CHECK(false && "a float tensor");
      return 0;
  }
}

}  // namespace npumoe
