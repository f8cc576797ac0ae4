// OpenVINO device: Intel's NPU, GPU and CPU behind one library, which is loaded when somebody asks
// for it (docs/openvino.md). This header is what the rest of the engine sees of it.
//
// What OpenVINO does with a program is up to its target: NPU and GPU compute in fp16, CPU in fp32
// (inputs and outputs fp16 as the program declares them). Launch times are measured; there is no
// energy figure.
//
// Environment: NPUMOE_OPENVINO_LIBRARY (module_library.h); NPUMOE_OPENVINO_THREADS, threads of
// target CPU instead of the pool's; NPUMOE_OPENVINO_CORE, one processor that they are bound to.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/device.h"
#include "npu/device_registry.h"
#include "npu/profile.h"

namespace npumoe {

// "openvino", which takes the first target that is there, and "openvino:NPU", "openvino:GPU",
// "openvino:CPU". Where the library is missing: "openvino" with what to do.
std::vector<DeviceListing> OpenvinoListings();

// `target` as after the colon; empty: NPU, else GPU, else CPU. Compiled programs stay in
// `options.cache_dir`/openvino. Limits of `profile`: requests in flight. kUnsupported where library
// or target are missing, kUsage for a target that is none.
Result<std::unique_ptr<Device>> MakeOpenvinoDevice(const std::string& target,
                                                   const ChipProfile& profile, ThreadPool& pool,
                                                   const DeviceOptions& options);

}  // namespace npumoe
