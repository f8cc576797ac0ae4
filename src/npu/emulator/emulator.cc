#include "npu/emulator/emulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "npu/emulator/emulator_program.h"
#include "npu/emulator/fault_effects.h"
#include "npu/package_limits.h"

namespace npumoe {
namespace {

using emulator::Core;
using emulator::Describe;
using emulator::EmulatedBuffer;
using emulator::EmulatedProgram;
using emulator::Executable;
using emulator::FaultEffect;
using emulator::FaultKind;
using emulator::FindEffect;
using emulator::LoadedProgram;
using emulator::SameLayout;

Result<LoadedProgram> ReadProgram(const std::filesystem::path& path, const std::string& function,
                                  Core& core) {
  NPUMOE_ASSIGN_OR_RETURN(const auto package, core.packages.Get(path));
  NPUMOE_ASSIGN_OR_RETURN(const Graph* graph, package->Function(function));
  const auto where = [&](const Status& status) {
    return status.WithContext(fmt::format("{}: function '{}'", path.string(), function));
  };
  if (Status s = CheckPackageFits(*package, *graph, core.profile); !s.ok()) return where(s);
  auto executable = Executable::Build(*graph, {package});
  if (!executable.ok()) return where(executable.status());
  LoadedProgram loaded;
  loaded.executable = *std::move(executable);
  loaded.fault_name = emulator::FaultNameOf(path, function);
  loaded.load_report.modelled = true;
  loaded.operations = static_cast<int64_t>(graph->operations.size());
  return loaded;
}

// What a compiler that takes its time does to a load.
Status TakeTime(double ms, double limit_ms) {
  std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(std::min(ms, limit_ms)));
  if (ms <= limit_ms) return OkStatus();
  return {StatusCode::kDeadlineExceeded,
          fmt::format("loading did not end within {} ms, by the fault script", limit_ms)};
}

// Effects of a load that do not depend on the package.
Status SufferLoad(std::span<const FaultEffect> effects, Core& core) {
  if (FindEffect(effects, FaultKind::kCrash) != nullptr) emulator::CrashNow();
  if (FindEffect(effects, FaultKind::kLost) != nullptr) {
    core.lost = true;
    return emulator::DeviceIsLost();
  }
  if (FindEffect(effects, FaultKind::kHang) != nullptr) {
    return TakeTime(std::numeric_limits<double>::infinity(), core.load_timeout_ms);
  }
  NPUMOE_RETURN_IF_ERROR(emulator::RefusalAmong(effects));
  const FaultEffect* slow = FindEffect(effects, FaultKind::kSlowCompile);
  return slow == nullptr ? OkStatus() : TakeTime(slow->sleep_ms, core.load_timeout_ms);
}

// The effects of a load that hold for every launch of the program.
void Apply(std::span<const FaultEffect> effects, LoadedProgram& program) {
  for (const FaultEffect& effect : effects) {
    if (effect.kind == FaultKind::kSlowCompile) {
      program.load_report.time_ms += effect.modelled_ms;
    } else if (effect.kind == FaultKind::kCpuPlacement || effect.kind == FaultKind::kWrong ||
               effect.kind == FaultKind::kNan || effect.kind == FaultKind::kOverflow) {
      program.effects.push_back(effect);
    }
  }
}

// The buffers of one side of a request, checked against the specs.
Result<std::vector<EmulatedBuffer*>> CheckBuffers(std::span<DeviceBuffer* const> buffers,
                                                  const std::vector<TensorSpec>& specs,
                                                  const char* side) {
  if (buffers.size() != specs.size()) {
    return InvalidInput(fmt::format("the request has {} {} buffers; the program has {}",
                                    buffers.size(), side, specs.size()));
  }
  std::vector<EmulatedBuffer*> checked;
  for (size_t i = 0; i < buffers.size(); ++i) {
    auto* buffer = dynamic_cast<EmulatedBuffer*>(buffers[i]);
    if (buffer == nullptr) {
      return InvalidInput(fmt::format("{} buffer {} was not allocated by the emulator", side, i));
    }
    if (!SameLayout(buffer->spec(), specs[i])) {
      return InvalidInput(fmt::format("{} buffer {} was allocated for {}; {} is needed", side, i,
                                      Describe(buffer->spec()), Describe(specs[i])));
    }
    checked.push_back(buffer);
  }
  return checked;
}

// Outputs are written while inputs are still read.
Status CheckDistinct(std::span<EmulatedBuffer* const> inputs,
                     std::span<EmulatedBuffer* const> outputs) {
  const std::set<EmulatedBuffer*> read(inputs.begin(), inputs.end());
  std::set<EmulatedBuffer*> written;
  for (EmulatedBuffer* buffer : outputs) {
    if (read.count(buffer) != 0 || !written.insert(buffer).second) {
      return InvalidInput("a buffer is bound to an output and to something else as well");
    }
  }
  return OkStatus();
}

Status CheckRows(std::span<const int> rows, const Executable& executable) {
  if (rows.empty()) return OkStatus();
  if (rows.size() != executable.inputs().size()) {
    return InvalidInput(fmt::format("the request has {} row counts for {} inputs", rows.size(),
                                    executable.inputs().size()));
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] < 0 || rows[i] > executable.InputCapacity(i)) {
      return InvalidInput(fmt::format("{} rows of input {}; its capacity is {}", rows[i],
                                      Describe(executable.inputs()[i]),
                                      executable.InputCapacity(i)));
    }
  }
  return OkStatus();
}

class Emulator final : public Device, public emulator::FaultTarget {
 public:
  explicit Emulator(std::shared_ptr<Core> core) : core_(std::move(core)) {}

  DeviceInfo info() const override {
    return {.name = "emulator",
            .description = fmt::format("emulated NPU, profile {} (modelled time and energy)",
                                       core_->profile.name),
            .version = "1"};
  }

  Status Supports(const std::filesystem::path& package, const std::string& function) override {
    if (core_->lost) return emulator::DeviceIsLost();
    NPUMOE_RETURN_IF_ERROR(core_->places.Check());
    return ReadProgram(package, function, *core_).status();
  }

  Result<std::unique_ptr<Program>> Load(const std::filesystem::path& package,
                                        const std::string& function) override {
    std::vector<FaultEffect> effects = TakeInjected();  // of this event, even if it is refused
    if (core_->lost) return emulator::DeviceIsLost();
    for (const FaultEffect& e : core_->faults.OnLoad(emulator::FaultNameOf(package, function))) {
      effects.push_back(e);
    }
    NPUMOE_RETURN_IF_ERROR(SufferLoad(effects, *core_));
    NPUMOE_RETURN_IF_ERROR(core_->places.Take());
    auto program = ReadProgram(package, function, *core_);
    if (!program.ok()) {
      core_->places.Free();
      return program.status();
    }
    Apply(effects, *program);
    return std::unique_ptr<Program>(std::make_unique<EmulatedProgram>(core_, *std::move(program)));
  }

  Result<RequestId> Submit(const LaunchRequest& request) override {
    std::vector<FaultEffect> effects = TakeInjected();
    auto* program = dynamic_cast<EmulatedProgram*>(request.program);
    if (program == nullptr || program->core() != core_) {
      return InvalidInput("the request's program was not loaded by this device");
    }
    NPUMOE_RETURN_IF_ERROR(program->CheckNotLost());
    NPUMOE_ASSIGN_OR_RETURN(auto inputs, CheckBuffers(request.inputs, program->inputs(), "input"));
    NPUMOE_ASSIGN_OR_RETURN(auto outputs,
                            CheckBuffers(request.outputs, program->outputs(), "output"));
    NPUMOE_RETURN_IF_ERROR(CheckDistinct(inputs, outputs));
    NPUMOE_RETURN_IF_ERROR(CheckRows(request.rows, *program->loaded().executable));
    for (const FaultEffect& e : core_->faults.OnLaunch(program->loaded().fault_name)) {
      effects.push_back(e);
    }
    NPUMOE_RETURN_IF_ERROR(emulator::RefusalAmong(effects));
    return core_->queue.Submit(program->MakeLaunch(inputs, outputs, request.rows, effects));
  }

  Result<LaunchReport> Wait(RequestId request, double timeout_ms) override {
    return core_->queue.Wait(request, timeout_ms);
  }

  Status Reopen() override {
    if (core_->lost.exchange(false)) ++core_->opened;
    return OkStatus();
  }

  void InjectNext(std::vector<FaultEffect> effects) override {
    const std::lock_guard lock(injected_mutex_);
    injected_ = std::move(effects);
  }

 private:
  std::vector<FaultEffect> TakeInjected() {
    const std::lock_guard lock(injected_mutex_);
    return std::exchange(injected_, {});
  }

  std::shared_ptr<Core> core_;
  std::mutex injected_mutex_;
  std::vector<FaultEffect> injected_;
};

}  // namespace

Result<std::unique_ptr<Device>> MakeEmulator(const ChipProfile& profile, ThreadPool& pool,
                                             const EmulatorOptions& options) {
  if (profile.npu.tflops.empty() || profile.limits.max_programs < 1 ||
      profile.limits.max_requests_in_flight < 1) {
    return InvalidInput(
        fmt::format("profile '{}' has no rates or no room for programs or requests; load one of "
                    "chips/*.toml",
                    profile.name));
  }
  return std::unique_ptr<Device>(
      std::make_unique<Emulator>(std::make_shared<Core>(profile, pool, options)));
}

}  // namespace npumoe
