// What stands in for the Core ML device where it is not built.
#include "npu/coreml/coreml_device.h"

namespace npumoe {

Status CoremlAvailability() {
#ifdef __APPLE__
  return Unsupported("this build has no Core ML device; use the emulator");
#else
  return Unsupported("needs macOS on Apple silicon; here the emulator runs the same packages");
#endif
}

Result<std::unique_ptr<Device>> MakeCoremlDevice(const ChipProfile&) {
  return CoremlAvailability().WithContext("device 'coreml'");
}

}  // namespace npumoe
