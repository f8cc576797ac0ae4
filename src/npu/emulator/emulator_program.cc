#include "npu/emulator/emulator_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>
#include <utility>

#include "npu/emulator/fault_effects.h"

namespace npumoe::emulator {

bool SameLayout(const TensorSpec& a, const TensorSpec& b) {
  return a.dtype == b.dtype && a.shape == b.shape;
}

std::string Describe(const TensorSpec& spec) {
  return fmt::format("'{}' {} {}", spec.name, Name(spec.dtype), spec.shape.ToString());
}

EmulatedProgram::EmulatedProgram(std::shared_ptr<Core> core, LoadedProgram loaded)
    : core_(std::move(core)), loaded_(std::move(loaded)), opened_(core_->opened) {}

EmulatedProgram::~EmulatedProgram() {
  core_->queue.Forget(this);
  core_->places.Free();
}

Status EmulatedProgram::CheckSpec(const TensorSpec& spec) const {
  const auto fits = [&](const TensorSpec& own) { return SameLayout(own, spec); };
  if (std::any_of(inputs().begin(), inputs().end(), fits) ||
      std::any_of(outputs().begin(), outputs().end(), fits)) {
    return OkStatus();
  }
  return InvalidInput(
      fmt::format("a buffer for {} fits no input or output of the program", Describe(spec)));
}

Result<std::unique_ptr<DeviceBuffer>> EmulatedProgram::Allocate(const TensorSpec& spec) {
  NPUMOE_RETURN_IF_ERROR(CheckSpec(spec));
  try {
    return std::unique_ptr<DeviceBuffer>(std::make_unique<EmulatedBuffer>(spec));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(fmt::format("no memory for a buffer of {} bytes", spec.bytes()));
  }
}

Result<std::unique_ptr<DeviceBuffer>> EmulatedProgram::Wrap(const TensorSpec& spec,
                                                            std::span<std::byte> memory) {
  NPUMOE_RETURN_IF_ERROR(CheckSpec(spec));
  constexpr uintptr_t kAlignment = 64;
  if (memory.size() != spec.bytes() ||
      reinterpret_cast<uintptr_t>(memory.data()) % kAlignment != 0) {
    return InvalidInput(
        fmt::format("{} bytes of memory for {}; {} bytes, {}-byte aligned, are needed",
                    memory.size(), Describe(spec), spec.bytes(), kAlignment));
  }
  return std::unique_ptr<DeviceBuffer>(std::make_unique<EmulatedBuffer>(spec, memory));
}

std::optional<ComputePlan> EmulatedProgram::compute_plan() const {
  const bool on_cpu = FindEffect(loaded_.effects, FaultKind::kCpuPlacement) != nullptr;
  return ComputePlan{loaded_.operations, on_cpu ? 0 : loaded_.operations,
                     on_cpu ? "all operations on the CPU, by the fault script" : ""};
}

Status EmulatedProgram::CheckNotLost() const {
  return core_->lost || core_->opened != opened_ ? DeviceIsLost() : OkStatus();
}

namespace {

// One launch, on the queue's thread. The queue is a member of the core, which outlives every run.
struct Run {
  Core* core = nullptr;
  std::shared_ptr<const Executable> executable;
  std::vector<std::span<const std::byte>> inputs;
  std::vector<std::span<std::byte>> outputs;
  std::vector<FaultEffect> effects;

  Status operator()() const {
    if (FindEffect(effects, FaultKind::kCrash) != nullptr) CrashNow();
    if (FindEffect(effects, FaultKind::kLost) != nullptr) core->lost = true;
    if (core->lost) return DeviceIsLost();
    if (const FaultEffect* slow = FindEffect(effects, FaultKind::kSlowCompile)) {
      std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(slow->sleep_ms));
    }
    NPUMOE_RETURN_IF_ERROR(executable->Run(inputs, outputs, core->workspace, core->pool));
    CorruptOutputs(effects, executable->outputs(), outputs);
    return OkStatus();
  }
};

}  // namespace

QueuedLaunch EmulatedProgram::MakeLaunch(std::span<EmulatedBuffer* const> inputs,
                                         std::span<EmulatedBuffer* const> outputs,
                                         std::span<const int> rows,
                                         const std::vector<FaultEffect>& effects) const {
  Run run{core_.get(), loaded_.executable, {}, {}, loaded_.effects};
  for (EmulatedBuffer* buffer : inputs) run.inputs.emplace_back(buffer->bytes());
  for (EmulatedBuffer* buffer : outputs) run.outputs.push_back(buffer->bytes());
  run.effects.insert(run.effects.end(), effects.begin(), effects.end());

  const LaunchCost cost = loaded_.executable->Cost(core_->profile.npu, rows);
  QueuedLaunch launch;
  launch.owner = this;
  launch.report = {cost.total_ms(), cost.energy_j, true};
  for (const FaultEffect& effect : run.effects) {
    if (effect.kind == FaultKind::kCpuPlacement) launch.report.time_ms *= effect.factor;
  }
  for (const FaultEffect& effect : effects) {
    if (effect.kind == FaultKind::kSlowCompile) launch.report.time_ms += effect.modelled_ms;
    if (effect.kind != FaultKind::kHang) continue;
    launch.hang = effect.holds_device ? Hang::kDevice : Hang::kRequest;
  }
  launch.run = std::move(run);
  return launch;
}

}  // namespace npumoe::emulator
