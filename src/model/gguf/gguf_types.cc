#include <array>
#include <utility>

#include "model/gguf/gguf_file.h"

namespace npumoe {
namespace {

// Numbers that stand in files for the types that this build computes with.
constexpr std::pair<DType, uint32_t> kTypeIds[] = {
    {DType::kF32, 0},   {DType::kF16, 1},   {DType::kQ4_0, 2},   {DType::kQ4_1, 3},
    {DType::kQ5_0, 6},  {DType::kQ5_1, 7},  {DType::kQ8_0, 8},   {DType::kQ4_K, 12},
    {DType::kQ5_K, 13}, {DType::kQ6_K, 14}, {DType::kI8, 24},    {DType::kI32, 26},
    {DType::kI64, 27},  {DType::kBF16, 30}, {DType::kMXFP4, 39},
};

// Types that GGUF has and this build does not compute with, for messages.
constexpr std::pair<uint32_t, const char*> kOtherTypes[] = {
    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"},
    {25, "I16"},     {28, "F64"},   {29, "IQ1_M"},  {34, "TQ1_0"}, {35, "TQ2_0"},   {40, "NVFP4"},
};

}  // namespace

std::optional<uint32_t> GgufTypeId(DType dtype) {
  for (const auto& [type, id] : kTypeIds) {
    if (type == dtype) return id;
  }
  return std::nullopt;
}

Result<DType> DTypeOfGguf(uint32_t type_id) {
  constexpr const char* kSupported =
      "supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K and MXFP4";
  for (const auto& [type, id] : kTypeIds) {
    if (id == type_id) return type;
  }
  for (const auto& [id, type] : kOtherTypes) {
    if (id == type_id) {
      return Unsupported(std::string("type ") + type + " is not supported; " + kSupported);
    }
  }
  return Unsupported("type number " + std::to_string(type_id) +
                     " is not known; the file is damaged or newer than this build; " + kSupported);
}

}  // namespace npumoe
