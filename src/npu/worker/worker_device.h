// A Device whose programs live in worker processes: a crash or a hang of one costs a restart and a
// replay, never the session, and every worker has the per-process limits of the profile to itself.
//
// Deadlines: Wait answers kDeadlineExceeded as device.h says, and may be called again. Apart from
// that, a launch that has kept its worker busy for `launch_deadline_ms` counts as hung: the worker
// is ended and restarted and the launch repeated, without an answer to anybody. A caller that wants
// the repetition waits for some multiples of that deadline before it gives up. A load beyond
// `load_timeout_ms` fails at once with kDeadlineExceeded.
//
// Modelled devices: emulation must not run beside CPU work that is measured. With
// LaunchStart::kOnWait a launch is sent to its worker only when somebody waits for it or for a
// later one, and Wait returns only when all that it released has ended, in whatever process. So
// nothing is emulated outside of Wait, just as in one process (EmulatorStart::kOnWait); workers
// share the work of one Wait only where several requests are released by it. A worker's pool has
// `threads` threads, which sleep while there is nothing to run.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/status.h"
#include "npu/device.h"
#include "npu/profile.h"

namespace npumoe {

enum class LaunchStart { kOnSubmit, kOnWait };

struct WorkerDeviceOptions {
  std::string device;  // what each worker opens: a name of device_registry.h
  LaunchStart start = LaunchStart::kOnWait;
  int workers = 1;
  int threads = 1;                // of each worker's pool
  std::filesystem::path program;  // run with "npu-worker"; empty: this program
  std::filesystem::path cache_dir;
  std::string faults;  // a script of npu/emulator/fault_script.h; counted here, not in the workers
  double launch_deadline_ms = 10e3;
  double load_timeout_ms = 600e3;
  double start_deadline_ms = 60e3;  // of a worker until its device is open; chosen
};

inline constexpr int kMaxWorkers = 64;  // chosen: 64 times 120 programs are more than any plan has

// The workers read the profile as it stands in ChipProfile::toml.
Result<std::unique_ptr<Device>> MakeWorkerDevice(const ChipProfile& profile,
                                                 const WorkerDeviceOptions& options);

}  // namespace npumoe
