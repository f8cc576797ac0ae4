// The device and the module's entry point.
#include <fmt/format.h>

#include <chrono>
#include <mutex>
#include <set>
#include <utility>

#include "npu/openvino/module/lowering.h"
#include "npu/openvino/module/program.h"

namespace npumoe::openvino {
namespace {

using Clock = std::chrono::steady_clock;

// The buffers of one side of a request, checked against the specs.
Result<std::vector<TensorBuffer*>> CheckBuffers(std::span<DeviceBuffer* const> buffers,
                                                const std::vector<TensorSpec>& specs,
                                                const char* side) {
  if (buffers.size() != specs.size()) {
    return InvalidInput(fmt::format("the request has {} {} buffers; the program has {}",
                                    buffers.size(), side, specs.size()));
  }
  std::vector<TensorBuffer*> checked;
  for (size_t i = 0; i < buffers.size(); ++i) {
    auto* buffer = dynamic_cast<TensorBuffer*>(buffers[i]);
    if (buffer == nullptr) {
      return InvalidInput(fmt::format("{} buffer {} was not allocated by this device", side, i));
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
Status CheckDistinct(std::span<TensorBuffer* const> inputs,
                     std::span<TensorBuffer* const> outputs) {
  const std::set<TensorBuffer*> read(inputs.begin(), inputs.end());
  std::set<TensorBuffer*> written;
  for (TensorBuffer* buffer : outputs) {
    if (read.count(buffer) != 0 || !written.insert(buffer).second) {
      return InvalidInput("a buffer is bound to an output and to something else as well");
    }
  }
  return OkStatus();
}

struct Loaded {
  std::shared_ptr<const Mlpackage> package;
  const Graph* graph = nullptr;
  std::shared_ptr<ov::Model> model;
};

class OpenvinoDevice final : public Device {
 public:
  explicit OpenvinoDevice(std::shared_ptr<Core> core) : core_(std::move(core)) {}

  DeviceInfo info() const override {
    const std::shared_ptr<Core> core = Current();
    const Settings& settings = core->runtime->settings();
    std::string description =
        fmt::format("OpenVINO {} on {}", settings.target, core->runtime->processor());
    if (settings.target == "CPU") {
      description += fmt::format(", {} thread(s), fp32 inside", settings.threads);
    }
    return {.name = "openvino:" + settings.target,
            .description = description + " (measured time)",
            .version = LibraryVersion()};
  }

  // Opens the library's side anew; programs of before keep the old one.
  Status Reopen() override {
    const std::shared_ptr<Core> lost = Current();
    auto runtime = Runtime::Open(lost->runtime->settings());
    if (!runtime.ok()) {
      return Status(StatusCode::kDeviceLost, "still gone: " + runtime.status().message());
    }
    auto core = std::make_shared<Core>(*std::move(runtime), lost->queue.next_id());
    const std::lock_guard lock(mutex_);
    core_ = std::move(core);
    return OkStatus();
  }

  Status Supports(const std::filesystem::path& package, const std::string& function) override {
    const std::shared_ptr<Core> core = Current();
    auto loaded = Read(*core, package, function);
    if (!loaded.ok()) return loaded.status();
    return Where(core->runtime->Supports(loaded->model), package, function);
  }

  Result<std::unique_ptr<Program>> Load(const std::filesystem::path& package,
                                        const std::string& function) override {
    const Clock::time_point begin = Clock::now();
    const std::shared_ptr<Core> core = Current();
    NPUMOE_ASSIGN_OR_RETURN(const Loaded loaded, Read(*core, package, function));
    auto compiled = core->runtime->Compile(loaded.model);
    if (!compiled.ok()) return Where(compiled.status(), package, function);
    const std::chrono::duration<double, std::milli> load_time = Clock::now() - begin;
    return std::unique_ptr<Program>(std::make_unique<CompiledProgram>(
        core, *loaded.graph, *std::move(compiled), load_time.count()));
  }

  Result<RequestId> Submit(const LaunchRequest& request) override {
    auto* program = dynamic_cast<CompiledProgram*>(request.program);
    if (program == nullptr) {
      return InvalidInput("the request's program was not loaded by this device");
    }
    if (program->core() != Current()) {
      return Status(StatusCode::kDeviceLost,
                    "the request's program was loaded by another device, or before this one was "
                    "opened again");
    }
    NPUMOE_ASSIGN_OR_RETURN(auto inputs, CheckBuffers(request.inputs, program->inputs(), "input"));
    NPUMOE_ASSIGN_OR_RETURN(auto outputs,
                            CheckBuffers(request.outputs, program->outputs(), "output"));
    NPUMOE_RETURN_IF_ERROR(CheckDistinct(inputs, outputs));
    if (!request.rows.empty() && request.rows.size() != inputs.size()) {
      return InvalidInput(fmt::format("the request has {} row counts for {} inputs",
                                      request.rows.size(), inputs.size()));
    }
    return program->Submit(inputs, outputs);
  }

  Result<LaunchReport> Wait(RequestId request, double timeout_ms) override {
    return Current()->queue.Wait(request, timeout_ms);
  }

 private:
  static Status Where(const Status& status, const std::filesystem::path& package,
                      const std::string& function) {
    return status.WithContext(fmt::format("{}: function '{}'", package.string(), function));
  }

  static Result<Loaded> Read(Core& core, const std::filesystem::path& path,
                             const std::string& function) {
    Loaded loaded;
    NPUMOE_ASSIGN_OR_RETURN(loaded.package, core.packages.Get(path));
    NPUMOE_ASSIGN_OR_RETURN(loaded.graph, loaded.package->Function(function));
    auto model = LowerGraph(*loaded.graph, loaded.package);
    if (!model.ok()) return Where(model.status(), path, function);
    loaded.model = *std::move(model);
    return loaded;
  }

  std::shared_ptr<Core> Current() const {
    const std::lock_guard lock(mutex_);
    return core_;
  }

  mutable std::mutex mutex_;
  std::shared_ptr<Core> core_;
};

Result<std::unique_ptr<Device>> MakeDeviceOf(const Settings& settings) {
  if (settings.max_requests_in_flight < 1 || settings.threads < 1) {
    return InvalidInput("a device needs room for a request and a thread");
  }
  NPUMOE_ASSIGN_OR_RETURN(std::unique_ptr<Runtime> runtime, Runtime::Open(settings));
  return std::unique_ptr<Device>(
      std::make_unique<OpenvinoDevice>(std::make_shared<Core>(std::move(runtime), 1)));
}

}  // namespace
}  // namespace npumoe::openvino

extern "C" __attribute__((visibility("default"))) const npumoe::openvino::Module*
npumoe_openvino_module() {
  using namespace npumoe::openvino;
  static const Module module = {NPUMOE_OPENVINO_STAMP, LibraryVersion, ListTargets, MakeDeviceOf};
  return &module;
}
