#include "npu/emulator/operations.h"

#include <array>

namespace npumoe::emulator {
namespace {

struct Entry {
  std::string_view type;
  AddOperation add;
};

constexpr std::array kOperations = {
    Entry{"constexpr_blockwise_shift_scale", AddConstexpr},
    Entry{"constexpr_lut_to_dense", AddConstexpr},
    Entry{"conv", AddConv},
    Entry{"linear", AddLinear},
    Entry{"matmul", AddMatMul},
    Entry{"silu", AddUnary},
    Entry{"sigmoid", AddUnary},
    Entry{"exp", AddUnary},
    Entry{"sqrt", AddUnary},
    Entry{"rsqrt", AddUnary},
    Entry{"square", AddUnary},
    Entry{"abs", AddUnary},
    Entry{"cast", AddUnary},
    Entry{"clip", AddUnary},
    Entry{"add", AddBinary},
    Entry{"sub", AddBinary},
    Entry{"mul", AddBinary},
    Entry{"real_div", AddBinary},
    Entry{"maximum", AddBinary},
    Entry{"reshape", AddReshape},
    Entry{"expand_dims", AddReshape},
    Entry{"squeeze", AddReshape},
    Entry{"transpose", AddTranspose},
    Entry{"slice_by_index", AddSlice},
    Entry{"concat", AddConcat},
    Entry{"split", AddSplit},
    Entry{"softmax", AddSoftmax},
    Entry{"reduce_mean", AddReduce},
    Entry{"reduce_sum", AddReduce},
    Entry{"reduce_max", AddReduce},
    Entry{"layer_norm", AddLayerNorm},
};

}  // namespace

AddOperation FindOperation(std::string_view type) {
  for (const Entry& entry : kOperations) {
    if (entry.type == type) return entry.add;
  }
  return nullptr;
}

}  // namespace npumoe::emulator
