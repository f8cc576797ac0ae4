#include "npu/emulator/emulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <set>
#include <utility>

#include "base/aligned_buffer.h"
#include "graph/mlpackage.h"
#include "graph/validator.h"
#include "npu/emulator/executable.h"
#include "npu/emulator/launch_queue.h"

namespace npumoe {
namespace {

using emulator::Executable;
using emulator::LaunchQueue;

class EmulatedBuffer final : public DeviceBuffer {
 public:
  explicit EmulatedBuffer(const TensorSpec& spec) : spec_(spec), memory_(spec.bytes()) {}
  std::span<std::byte> bytes() override { return memory_.span(); }
  const TensorSpec& spec() const { return spec_; }

 private:
  TensorSpec spec_;
  AlignedBuffer<std::byte> memory_;
};

// What a device and its programs share; lives as long as the last of them.
struct Core {
  Core(const ChipProfile& p, ThreadPool& shared_pool, const EmulatorOptions& options)
      : profile(p), pool(shared_pool), queue(options.start, p.limits.max_requests_in_flight) {}

  const ChipProfile profile;
  ThreadPool& pool;
  AlignedBuffer<float> workspace;  // the worker's alone
  std::atomic<int64_t> programs{0};
  LaunchQueue queue;  // last: its worker ends before the rest goes
};

bool SameLayout(const TensorSpec& a, const TensorSpec& b) {
  return a.dtype == b.dtype && a.shape == b.shape;
}

std::string Describe(const TensorSpec& spec) {
  return fmt::format("'{}' {} {}", spec.name, Name(spec.dtype), spec.shape.ToString());
}

class EmulatedProgram final : public Program {
 public:
  // Takes one of the core's places for programs, which the caller has reserved.
  EmulatedProgram(std::shared_ptr<Core> core, std::shared_ptr<const Executable> executable)
      : core_(std::move(core)), executable_(std::move(executable)) {}
  // Waiting requests are cancelled, a running one is finished first.
  ~EmulatedProgram() override {
    core_->queue.Forget(this);
    --core_->programs;
  }

  const std::vector<TensorSpec>& inputs() const override { return executable_->inputs(); }
  const std::vector<TensorSpec>& outputs() const override { return executable_->outputs(); }
  int64_t weight_bytes() const override { return executable_->weight_bytes(); }

  Result<std::unique_ptr<DeviceBuffer>> Allocate(const TensorSpec& spec) override {
    const auto fits = [&](const TensorSpec& own) { return SameLayout(own, spec); };
    if (std::none_of(inputs().begin(), inputs().end(), fits) &&
        std::none_of(outputs().begin(), outputs().end(), fits)) {
      return InvalidInput(
          fmt::format("a buffer for {} fits no input or output of the program", Describe(spec)));
    }
    try {
      return std::unique_ptr<DeviceBuffer>(std::make_unique<EmulatedBuffer>(spec));
    } catch (const std::bad_alloc&) {
      return ResourceExhausted(fmt::format("no memory for a buffer of {} bytes", spec.bytes()));
    }
  }

  const std::shared_ptr<Core>& core() const { return core_; }
  const std::shared_ptr<const Executable>& executable() const { return executable_; }

 private:
  std::shared_ptr<Core> core_;
  std::shared_ptr<const Executable> executable_;
};

Status CheckBytes(int64_t program_bytes, int64_t file_bytes, const ChipProfile& profile) {
  const NpuLimits& limits = profile.limits;
  if (program_bytes > limits.max_program_bytes) {
    return ResourceExhausted(fmt::format(
        "program-too-large: {} bytes of weights; profile {} allows {} in one program; plan "
        "smaller groups",
        program_bytes, profile.name, limits.max_program_bytes));
  }
  if (file_bytes > limits.max_weight_file_bytes) {
    return ResourceExhausted(fmt::format("weight-file-too-large: {} bytes; profile {} allows {}",
                                         file_bytes, profile.name, limits.max_weight_file_bytes));
  }
  return OkStatus();
}

Result<std::shared_ptr<const Executable>> ReadExecutable(const std::filesystem::path& path,
                                                         const std::string& function,
                                                         const ChipProfile& profile) {
  NPUMOE_ASSIGN_OR_RETURN(Mlpackage package, ReadMlpackage(path));
  NPUMOE_ASSIGN_OR_RETURN(const Graph* graph, package.Function(function));
  const auto where = [&](const Status& status) {
    return status.WithContext(fmt::format("{}: function '{}'", path.string(), function));
  };
  if (Status s = CheckBytes(graph->WeightBytes(), package.weight_file_bytes, profile); !s.ok()) {
    return where(s);
  }
  if (Status s = RefusalOf(ValidateGraph(*graph, LimitsOf(profile))); !s.ok()) {
    return where(s);
  }
  auto executable = Executable::Build(*graph, package.storage);
  if (!executable.ok()) return where(executable.status());
  return executable;
}

Status CheckPlaces(int64_t programs, const ChipProfile& profile) {
  if (programs < profile.limits.max_programs) return OkStatus();
  return ResourceExhausted(fmt::format(
      "too-many-programs: {} programs are loaded; profile {} allows {} in one process; unload "
      "one, or plan with larger groups",
      programs, profile.name, profile.limits.max_programs));
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

class Emulator final : public Device {
 public:
  explicit Emulator(std::shared_ptr<Core> core) : core_(std::move(core)) {}

  DeviceInfo info() const override {
    return {.name = "emulator",
            .description = fmt::format("emulated NPU, profile {} (modelled time and energy)",
                                       core_->profile.name),
            .version = "1"};
  }

  Status Supports(const std::filesystem::path& package, const std::string& function) override {
    NPUMOE_RETURN_IF_ERROR(CheckPlaces(core_->programs.load(), core_->profile));
    return ReadExecutable(package, function, core_->profile).status();
  }

  Result<std::unique_ptr<Program>> Load(const std::filesystem::path& package,
                                        const std::string& function) override {
    // The place is taken first, so that loads at the same time cannot pass the limit together.
    int64_t programs = core_->programs.load();
    do {
      NPUMOE_RETURN_IF_ERROR(CheckPlaces(programs, core_->profile));
    } while (!core_->programs.compare_exchange_weak(programs, programs + 1));
    auto executable = ReadExecutable(package, function, core_->profile);
    if (!executable.ok()) {
      --core_->programs;
      return executable.status();
    }
    return std::unique_ptr<Program>(
        std::make_unique<EmulatedProgram>(core_, *std::move(executable)));
  }

  Result<RequestId> Submit(const LaunchRequest& request) override {
    auto* program = dynamic_cast<EmulatedProgram*>(request.program);
    if (program == nullptr || program->core() != core_) {
      return InvalidInput("the request's program was not loaded by this device");
    }
    NPUMOE_ASSIGN_OR_RETURN(auto inputs, CheckBuffers(request.inputs, program->inputs(), "input"));
    NPUMOE_ASSIGN_OR_RETURN(auto outputs,
                            CheckBuffers(request.outputs, program->outputs(), "output"));
    NPUMOE_RETURN_IF_ERROR(CheckDistinct(inputs, outputs));
    NPUMOE_RETURN_IF_ERROR(CheckRows(request.rows, *program->executable()));
    const LaunchCost cost = program->executable()->Cost(core_->profile.npu, request.rows);
    return core_->queue.Submit(program, {cost.total_ms(), cost.energy_j, true},
                               MakeRun(*program, inputs, outputs));
  }

  Result<LaunchReport> Wait(RequestId request, double timeout_ms) override {
    return core_->queue.Wait(request, timeout_ms);
  }

 private:
  std::function<Status()> MakeRun(const EmulatedProgram& program,
                                  std::span<EmulatedBuffer* const> inputs,
                                  std::span<EmulatedBuffer* const> outputs) {
    std::vector<std::span<const std::byte>> in;
    std::vector<std::span<std::byte>> out;
    for (EmulatedBuffer* buffer : inputs) in.push_back(buffer->bytes());
    for (EmulatedBuffer* buffer : outputs) out.push_back(buffer->bytes());
    // The queue is a member of the core, so the core outlives every run.
    return [core = core_.get(), executable = program.executable(), in = std::move(in),
            out = std::move(out)] { return executable->Run(in, out, core->workspace, core->pool); };
  }

  std::shared_ptr<Core> core_;
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
