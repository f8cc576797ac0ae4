// LoadedFunction: one function of a plan's program (a capacity bucket, a history length, a number
// of rows), loaded on a device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/device.h"
#include "plan/plan.h"

namespace npumoe {

struct LoadedFunction {
  ProgramId id;
  std::unique_ptr<Program> program;

  // Gives up the program without unloading it (a request that never ends uses it).
  void Leak() { static_cast<void>(program.release()); }
};

// Index of the declaration named as `wanted`, which must have its type and shape. `what` is
// "input" or "output". kInvalidInput: the package was compiled for another plan.
Result<size_t> FindSpec(const std::vector<TensorSpec>& declared, const TensorSpec& wanted,
                        const char* what);

// The fp16 values of a buffer.
inline uint16_t* Fp16Of(DeviceBuffer* buffer) {
  return reinterpret_cast<uint16_t*>(buffer->bytes().data());
}
// Whether none of the fp16 values is NaN or infinite.
bool AreFinite(const uint16_t* values, int64_t count);

}  // namespace npumoe
