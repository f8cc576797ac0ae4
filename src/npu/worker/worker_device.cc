#include "npu/worker/worker_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "npu/worker/worker_fleet.h"

namespace npumoe {
namespace {

using worker::BufferPlace;
using worker::LaunchCall;
using worker::Loaded;
using worker::SharedRange;
using worker::WorkerFleet;

bool SameLayout(const TensorSpec& a, const TensorSpec& b) {
  return a.dtype == b.dtype && a.shape == b.shape;
}

std::string Describe(const TensorSpec& spec) {
  return fmt::format("'{}' {} {}", spec.name, Name(spec.dtype), spec.shape.ToString());
}

// Of any program: every worker can map it.
class WorkerBuffer final : public DeviceBuffer {
 public:
  WorkerBuffer(std::shared_ptr<WorkerFleet> fleet, const TensorSpec& spec, const SharedRange& range)
      : fleet_(std::move(fleet)), spec_(spec), range_(range) {}
  ~WorkerBuffer() override { fleet_->arena().Free(range_); }
  std::span<std::byte> bytes() override { return range_.bytes; }
  const TensorSpec& spec() const { return spec_; }
  const WorkerFleet* fleet() const { return fleet_.get(); }
  BufferPlace place() const {
    return {range_.segment, static_cast<int64_t>(range_.offset),
            static_cast<int64_t>(range_.bytes.size())};
  }

 private:
  std::shared_ptr<WorkerFleet> fleet_;
  TensorSpec spec_;
  SharedRange range_;
};

class WorkerProgram final : public Program {
 public:
  WorkerProgram(std::shared_ptr<WorkerFleet> fleet, Loaded loaded)
      : fleet_(std::move(fleet)), loaded_(std::move(loaded)) {}
  ~WorkerProgram() override { fleet_->Unload(loaded_.program); }

  const std::vector<TensorSpec>& inputs() const override { return loaded_.inputs; }
  const std::vector<TensorSpec>& outputs() const override { return loaded_.outputs; }
  int64_t weight_bytes() const override { return loaded_.weight_bytes; }
  LaunchReport load_report() const override { return loaded_.load_report; }
  std::optional<ComputePlan> compute_plan() const override { return loaded_.compute_plan; }
  Result<std::unique_ptr<DeviceBuffer>> Allocate(const TensorSpec& spec) override {
    const auto fits = [&](const TensorSpec& own) { return SameLayout(own, spec); };
    if (std::none_of(inputs().begin(), inputs().end(), fits) &&
        std::none_of(outputs().begin(), outputs().end(), fits)) {
      return InvalidInput(
          fmt::format("a buffer for {} fits no input or output of the program", Describe(spec)));
    }
    NPUMOE_ASSIGN_OR_RETURN(const SharedRange range, fleet_->arena().Allocate(spec.bytes()));
    return std::unique_ptr<DeviceBuffer>(std::make_unique<WorkerBuffer>(fleet_, spec, range));
  }

  const WorkerFleet* fleet() const { return fleet_.get(); }
  int64_t number() const { return loaded_.program; }

 private:
  std::shared_ptr<WorkerFleet> fleet_;
  Loaded loaded_;
};

Result<std::vector<BufferPlace>> PlacesOf(std::span<DeviceBuffer* const> buffers,
                                          const std::vector<TensorSpec>& specs, const char* side,
                                          const WorkerFleet& fleet) {
  if (buffers.size() != specs.size()) {
    return InvalidInput(fmt::format("the request has {} {} buffers; the program has {}",
                                    buffers.size(), side, specs.size()));
  }
  std::vector<BufferPlace> places;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const auto* buffer = dynamic_cast<const WorkerBuffer*>(buffers[i]);
    if (buffer == nullptr || buffer->fleet() != &fleet) {
      return InvalidInput(fmt::format("{} buffer {} was not allocated by this device", side, i));
    }
    if (!SameLayout(buffer->spec(), specs[i])) {
      return InvalidInput(fmt::format("{} buffer {} was allocated for {}; {} is needed", side, i,
                                      Describe(buffer->spec()), Describe(specs[i])));
    }
    places.push_back(buffer->place());
  }
  return places;
}

// Outputs are written while inputs are still read.
Status CheckDistinct(const LaunchRequest& request) {
  const std::set<DeviceBuffer*> read(request.inputs.begin(), request.inputs.end());
  std::set<DeviceBuffer*> written;
  for (DeviceBuffer* buffer : request.outputs) {
    if (read.count(buffer) != 0 || !written.insert(buffer).second) {
      return InvalidInput("a buffer is bound to an output and to something else as well");
    }
  }
  return OkStatus();
}

class WorkerDevice final : public Device {
 public:
  explicit WorkerDevice(std::shared_ptr<WorkerFleet> fleet) : fleet_(std::move(fleet)) {}

  DeviceInfo info() const override { return fleet_->info(); }
  DeviceHealth health() const override { return fleet_->health(); }
  Status Reopen() override { return fleet_->Reopen(); }
  Status Supports(const std::filesystem::path& package, const std::string& function) override {
    return fleet_->Supports(package.string(), function);
  }
  Result<std::unique_ptr<Program>> Load(const std::filesystem::path& package,
                                        const std::string& function) override {
    NPUMOE_ASSIGN_OR_RETURN(Loaded loaded, fleet_->Load(package.string(), function));
    return std::unique_ptr<Program>(std::make_unique<WorkerProgram>(fleet_, std::move(loaded)));
  }
  Result<RequestId> Submit(const LaunchRequest& request) override {
    const auto* program = dynamic_cast<const WorkerProgram*>(request.program);
    if (program == nullptr || program->fleet() != fleet_.get()) {
      return InvalidInput("the request's program was not loaded by this device");
    }
    LaunchCall call;
    call.program = program->number();
    NPUMOE_ASSIGN_OR_RETURN(call.inputs,
                            PlacesOf(request.inputs, program->inputs(), "input", *fleet_));
    NPUMOE_ASSIGN_OR_RETURN(call.outputs,
                            PlacesOf(request.outputs, program->outputs(), "output", *fleet_));
    NPUMOE_RETURN_IF_ERROR(CheckDistinct(request));
    if (!request.rows.empty() && request.rows.size() != request.inputs.size()) {
      return InvalidInput(fmt::format("the request has {} row counts for {} inputs",
                                      request.rows.size(), request.inputs.size()));
    }
    call.rows.assign(request.rows.begin(), request.rows.end());
    return fleet_->Submit(std::move(call));
  }
  Result<LaunchReport> Wait(RequestId request, double timeout_ms) override {
    return fleet_->Wait(request, timeout_ms);
  }

 private:
  std::shared_ptr<WorkerFleet> fleet_;  // shared with programs and buffers, which may live longer
};

Status CheckOptions(const ChipProfile& profile, const WorkerDeviceOptions& options) {
  if (options.workers < 1 || options.workers > kMaxWorkers) {
    return UsageError(
        fmt::format("{} worker processes; 1 to {} are possible", options.workers, kMaxWorkers));
  }
  if (profile.toml.empty()) {
    return InvalidInput(fmt::format(
        "profile '{}' was not read from a file, so that workers cannot read it", profile.name));
  }
  if (!options.faults.empty() && options.device != "emulator") {
    return UsageError(
        fmt::format("device '{}' has no faults to inject: only the emulator has", options.device));
  }
  if (options.program.empty() && worker::ThisProgram().empty()) {
    return Unsupported("this system does not tell which program runs: name the worker's program");
  }
  return OkStatus();
}

}  // namespace

Result<std::unique_ptr<Device>> MakeWorkerDevice(const ChipProfile& profile,
                                                 const WorkerDeviceOptions& options) {
  NPUMOE_RETURN_IF_ERROR(CheckOptions(profile, options));
  NPUMOE_ASSIGN_OR_RETURN(auto faults, emulator::ParseFaultScript(options.faults));
  NPUMOE_ASSIGN_OR_RETURN(auto fleet, WorkerFleet::Create(profile, options, std::move(faults)));
  return std::unique_ptr<Device>(std::make_unique<WorkerDevice>(std::move(fleet)));
}

}  // namespace npumoe
