#include "runtime/loaded_function.h"

#include <fmt/format.h>

namespace npumoe {

Result<size_t> FindSpec(const std::vector<TensorSpec>& declared, const TensorSpec& wanted,
                        const char* what) {
  for (size_t i = 0; i < declared.size(); ++i) {
    if (declared[i].name != wanted.name) continue;
    if (declared[i].dtype == wanted.dtype && declared[i].shape == wanted.shape) return i;
    return InvalidInput(
        fmt::format("{} '{}' is {} {}, but the plan needs {} {}: the package was "
                    "compiled for another plan; compile this one",
                    what, wanted.name, Name(declared[i].dtype), declared[i].shape.ToString(),
                    Name(wanted.dtype), wanted.shape.ToString()));
  }
  return InvalidInput(
      fmt::format("no {} '{}': the package was compiled for another plan; compile this one", what,
                  wanted.name));
}

bool AreFinite(const uint16_t* values, int64_t count) {
  constexpr uint16_t kExponentMask = 0x7C00;  // all ones: infinity or NaN
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    finite &= (values[i] & kExponentMask) != kExponentMask;
  }
  return finite;
}

}  // namespace npumoe
