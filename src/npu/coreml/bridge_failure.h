// What errors of Core ML mean to the engine. Domains and codes are those of Apple's documentation;
// numbers inside messages are those that users report (docs/design/ane-facts.md, section 7).
#pragma once

#include "base/status.h"
#include "npu/coreml/coreml_bridge.h"

namespace npumoe::coreml_device {

enum class Step { kCompile, kLoad, kPlan, kBuffer, kPredict };
const char* Name(Step step);  // "compile", "load", ...

// The failure's code (device.h) and a message "STEP: MESSAGE (DOMAIN CODE)".
Status StatusOf(const Failure& failure, Step step);
// Whether the same call may succeed after a pause: not for what is too large, missing or cancelled.
bool IsWorthARetry(const Status& status);

}  // namespace npumoe::coreml_device
