#include "graph/mil_types.h"

namespace npumoe {
namespace {

struct ElementPair {
  DType dtype;
  coreml::ElementType element;
};
constexpr ElementPair kElements[] = {
    {DType::kF16, coreml::ELEMENT_FLOAT16}, {DType::kF32, coreml::ELEMENT_FLOAT32},
    {DType::kI32, coreml::ELEMENT_INT32},   {DType::kI8, coreml::ELEMENT_INT8},
    {DType::kU8, coreml::ELEMENT_UINT8},    {DType::kBool, coreml::ELEMENT_BOOL},
    {DType::kI4, coreml::ELEMENT_INT4},     {DType::kU4, coreml::ELEMENT_UINT4},
    {DType::kU6, coreml::ELEMENT_UINT6}};

struct ArrayPair {
  DType dtype;
  coreml::ArrayElementType element;
};
constexpr ArrayPair kArrays[] = {{DType::kF16, coreml::ARRAY_FLOAT16},
                                 {DType::kF32, coreml::ARRAY_FLOAT32},
                                 {DType::kI32, coreml::ARRAY_INT32}};

}  // namespace

std::optional<coreml::ElementType> ElementTypeOf(DType dtype) {
  for (const ElementPair& pair : kElements) {
    if (pair.dtype == dtype) return pair.element;
  }
  return std::nullopt;
}

std::optional<DType> DTypeOf(coreml::ElementType element) {
  for (const ElementPair& pair : kElements) {
    if (pair.element == element) return pair.dtype;
  }
  return std::nullopt;
}

std::optional<uint32_t> BlobTypeOf(DType dtype) {
  switch (dtype) {  // docs/design/coreml-format.md section 4
    case DType::kF16:
      return 1;
    case DType::kF32:
      return 2;
    case DType::kU8:
      return 3;
    case DType::kI8:
      return 4;
    case DType::kI4:
      return 8;
    case DType::kU4:
      return 11;
    case DType::kU6:
      return 13;
    case DType::kI32:
      return 14;
    default:
      return std::nullopt;
  }
}

std::optional<coreml::ArrayElementType> ArrayTypeOf(DType dtype) {
  for (const ArrayPair& pair : kArrays) {
    if (pair.dtype == dtype) return pair.element;
  }
  return std::nullopt;
}

std::optional<DType> DTypeOf(coreml::ArrayElementType element) {
  for (const ArrayPair& pair : kArrays) {
    if (pair.element == element) return pair.dtype;
  }
  return std::nullopt;
}

}  // namespace npumoe
