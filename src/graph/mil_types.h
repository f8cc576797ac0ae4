// Element types: ours against the three numberings of Core ML (program, weight file, interface).
#pragma once

#include <cstdint>
#include <optional>

#include "base/dtype.h"
#include "coreml_min.pb.h"

namespace npumoe {

// Nothing where that numbering has no such type, or we do not use it.
std::optional<coreml::ElementType> ElementTypeOf(DType dtype);
std::optional<DType> DTypeOf(coreml::ElementType element);

std::optional<uint32_t> BlobTypeOf(DType dtype);

std::optional<coreml::ArrayElementType> ArrayTypeOf(DType dtype);
std::optional<DType> DTypeOf(coreml::ArrayElementType element);

}  // namespace npumoe
