// What stands in for coreml_bridge.mm where there is no Core ML.
#ifndef __APPLE__
#include "npu/coreml/coreml_bridge.h"

namespace npumoe::coreml_device {

std::shared_ptr<Bridge> MakeBridge() { return nullptr; }

}  // namespace npumoe::coreml_device
#endif
