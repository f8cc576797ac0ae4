// The border between npumoe and the module libnpumoe_openvino.so, which alone is linked against
// OpenVINO: one program works with and without it. Both sides are built from the same sources; C++
// types cross the border, so a module of another build is refused by its stamp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/device.h"

namespace npumoe::openvino {

struct Settings {
  std::string target;               // "NPU", "GPU", "CPU"
  std::filesystem::path cache_dir;  // of compiled programs; empty: none is kept
  int threads = 1;                  // of target CPU
  int core = -1;                    // processor that target CPU is bound to; -1: any
  int64_t max_requests_in_flight = 1;
};

struct Target {
  std::string name;  // "NPU"
  bool available = false;
  std::string note;  // the processor's name, or what is missing and how to get it
};

struct Module {
  // NPUMOE_OPENVINO_STAMP of the build: a hash of the headers that this border consists of.
  const char* stamp;
  std::string (*version)();  // of OpenVINO
  std::vector<Target> (*targets)();
  Result<std::unique_ptr<Device>> (*make_device)(const Settings& settings);
};

inline constexpr char kEntryPoint[] = "npumoe_openvino_module";
using EntryPoint = const Module* (*)();

}  // namespace npumoe::openvino
