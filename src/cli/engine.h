// Engine: what commands that run a model share: the model, the thread pool, and, with --plan, the
// plan, its chip profile, the device, the compiled packages and the loaded programs.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "base/thread_pool.h"
#include "model/model.h"
#include "npu/device.h"
#include "npu/device_registry.h"
#include "npu/profile.h"
#include "plan/plan.h"
#include "runtime/npu_executor.h"
#include "runtime/package_compiler.h"
#include "runtime/session.h"

namespace CLI {
class App;
}

namespace npumoe::cli {

struct EngineOptions {
  std::string model;
  int threads = 0;  // 0: one per processor
  // Of the plan's programs; empty: the emulator with a plan, else the CPU. "cpu" with a plan runs
  // its programs' experts on the CPU.
  std::string device;
  std::string plan;      // a .plan.json; empty: everything on the CPU
  std::string cache;     // folder of compiled packages; empty: the user's cache folder
  std::string overflow;  // "spill" | "drop"; empty: as the plan says
  bool allow_lossy = false;
  bool no_npu_verification = false;
  std::string npu_faults;    // a script of npu/emulator/fault_script.h
  bool require_npu = false;  // a degradation makes the exit code nonzero
  int chunks_in_flight = 2;
  double launch_timeout_ms = 10000;
  double load_timeout_ms = 600000;  // a device's compiler may take minutes
  double npu_retry_pause_ms = LaunchOptions().retry_pause_ms;
  int npu_workers = -1;  // processes that hold the programs; -1: as the chip profile says
};

// The device that a plan's programs run on.
std::string DeviceOf(const EngineOptions& options);

// The device as the options and the chip profile want it.
DeviceOptions DeviceOptionsOf(const EngineOptions& options, const ChipProfile& profile);
// The longest wait for a launch, its repetitions in workers included.
double LaunchTimeoutMs(const EngineOptions& options, const ChipProfile& profile);

void AddModelOption(CLI::App& command, EngineOptions& options);
void AddThreadOption(CLI::App& command, EngineOptions& options);
void AddDeviceOptions(CLI::App& command, EngineOptions& options);

struct Engine {
  std::unique_ptr<ThreadPool> pool;
  std::shared_ptr<const Model> model;
  // With a plan:
  std::optional<Plan> plan;
  std::optional<ChipProfile> profile;
  std::unique_ptr<Device> device;
  CompileReport compiled;
  std::unique_ptr<NpuExecutor> npu;  // destroyed before the device

  bool uses_npu() const { return npu != nullptr; }
  // What PrefillResult::time_ms is made of.
  const char* PrefillTimeSource() const;
  // One line on stderr when planned NPU work ran on the CPU, whatever the command prints.
  void WarnOfDegradations() const;
  // A fresh context. `on` says whether it may use the NPU.
  enum class On { kPlannedDevice, kCpu };
  Result<std::unique_ptr<Session>> NewSession(int64_t context_tokens, Observer* observer,
                                              On on = On::kPlannedDevice, int cpu_chunk = 512);
};

Result<std::unique_ptr<Engine>> OpenEngine(const EngineOptions& options);

// Warns of degradations; with --require-npu: an error when anything that the plan put on the NPU
// ran elsewhere.
Status CheckRequiredNpu(const Engine& engine, const EngineOptions& options);

// $NPUMOE_CACHE, $XDG_CACHE_HOME/npumoe or ~/.cache/npumoe.
std::filesystem::path DefaultCacheFolder();
// Folders that hold chips/*.toml: $NPUMOE_CHIPS, beside the program, in its installation.
std::vector<std::filesystem::path> ChipFolders();

Result<Plan> ReadPlanFile(const std::string& path);
// The chip profile that a plan was made for: of the chip folders, or beside the plan's file.
Result<ChipProfile> LoadProfileOf(const Plan& plan, const std::filesystem::path& plan_path);

}  // namespace npumoe::cli
