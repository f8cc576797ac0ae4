// Devices by name: what --device takes and `npumoe doctor` lists. The CPU is not one of them: it
// is what the engine does by itself.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "npu/device.h"
#include "npu/profile.h"

namespace npumoe {

struct DeviceListing {
  std::string name;  // "emulator", "openvino:CPU": what --device takes
  bool available = false;
  std::string version;  // of the vendor's run time; empty for none
  std::string note;     // what it is, or what is missing and how to get it
};
std::vector<DeviceListing> ListDevices();

struct DeviceOptions {
  // What a real device's compiler makes of a package is kept here, so that a second start does
  // not compile again. Empty: nothing is kept.
  std::filesystem::path cache_dir;
  // Processes that hold the programs (npu/worker/worker_device.h); 0: this process.
  int workers = 0;
  int worker_threads = 0;  // of the pool of each; 0: as many as `pool` has
  // What runs as a worker, called with the argument "npu-worker"; empty: this program.
  std::filesystem::path worker_program;
  // A launch that takes longer in a worker counts as hung; chosen: far above any sane launch.
  double launch_deadline_ms = 10e3;
  // The same for loading, which may compile for minutes.
  double load_timeout_ms = 600e3;
  // Injected faults of the emulator, a script of npu/emulator/fault_script.h; empty: none.
  std::string faults;
};

// `name` is a device, or "DEVICE:TARGET" where a run time has several ("openvino:CPU"). `pool`
// must outlive the device and its programs. An unknown name lists the known ones (kUsage); a known
// one that this build or machine lacks is kUnsupported with the reason.
Result<std::unique_ptr<Device>> MakeDevice(const std::string& name, const ChipProfile& profile,
                                           ThreadPool& pool, const DeviceOptions& options = {});

}  // namespace npumoe
