// Finds and loads libnpumoe_openvino.so and, where the system's linker does not find it, the
// OpenVINO library that it needs.
//
// The module: NPUMOE_OPENVINO_LIBRARY names it; else it lies beside the program or in ../lib of it.
// The OpenVINO library: where the module was built against it, the system's library folders, then
// INTEL_OPENVINO_DIR, then the Python packages `openvino` of VIRTUAL_ENV, of .venv beside the
// program's folder or above it, of the user and of the system.
#pragma once

#include <filesystem>
#include <vector>

#include "base/status.h"
#include "npu/openvino/module_interface.h"

namespace npumoe::openvino {

struct LibrarySearch {
  std::vector<std::filesystem::path> modules;          // the first that exists is loaded
  std::vector<std::filesystem::path> runtime_folders;  // where libopenvino.so.* may lie
};
LibrarySearch DefaultSearch();

// kUnsupported with what is missing and how to get it. A module stays loaded until the process
// ends: its threads may outlive every use of it.
Result<const Module*> LoadModule(const LibrarySearch& search);

}  // namespace npumoe::openvino
