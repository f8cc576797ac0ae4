#include "npu/openvino/module/runtime.h"

#include <fmt/format.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <array>
#include <openvino/core/version.hpp>
#include <openvino/runtime/properties.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "npu/openvino/module/failures.h"

namespace npumoe::openvino {
namespace {

struct KnownTarget {
  const char* name;
  const char* missing;
};
// In the order of preference.
constexpr std::array kTargets = {
    KnownTarget{"NPU",
                "no Intel NPU was found: it needs a processor with one (Core Ultra), the kernel "
                "module intel_vpu, and Intel's linux-npu-driver"},
    KnownTarget{"GPU",
                "no Intel GPU was found: it needs one, and the packages intel-opencl-icd and "
                "libze-intel-gpu1"},
    KnownTarget{"CPU", "the library's CPU plugin was not found; install openvino again"},
};

// "GPU.0" belongs to "GPU".
bool HasTarget(const std::vector<std::string>& devices, const std::string& target) {
  return std::any_of(devices.begin(), devices.end(), [&](const std::string& device) {
    return device == target || device.starts_with(target + ".");
  });
}

std::string ProcessorName(const ov::Core& core, const std::string& target) {
  const auto name = Guarded("asking for the name", [&]() -> Result<std::string> {
    return core.get_property(target, ov::device::full_name);
  });
  if (!name.ok()) return target;
  const size_t last = name->find_last_not_of(' ');
  return name->substr(0, last == std::string::npos ? 0 : last + 1);
}

// Binds this thread, and with it the threads that it starts, to one processor.
class BoundToCore {
 public:
  explicit BoundToCore(int core) {
#ifdef __linux__
    if (core < 0 || core >= CPU_SETSIZE) return;
    if (sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    bound_ = sched_setaffinity(0, sizeof one, &one) == 0;
    if (!bound_) LogWarning(fmt::format("this process may not run on processor {}", core));
#else
    if (core >= 0) LogWarning("threads are bound to processors on Linux only");
#endif
  }
  ~BoundToCore() {
#ifdef __linux__
    if (bound_) sched_setaffinity(0, sizeof before_, &before_);
#endif
  }
  BoundToCore(const BoundToCore&) = delete;
  BoundToCore& operator=(const BoundToCore&) = delete;

 private:
#ifdef __linux__
  cpu_set_t before_{};
  bool bound_ = false;
#endif
};

}  // namespace

std::string LibraryVersion() {
  return fmt::format("{}.{}.{}", OPENVINO_VERSION_MAJOR, OPENVINO_VERSION_MINOR,
                     OPENVINO_VERSION_PATCH);
}

std::vector<Target> ListTargets() {
  std::vector<Target> targets;
  const auto list = [&]() -> Status {
    const ov::Core core;
    const std::vector<std::string> devices = core.get_available_devices();
    for (const KnownTarget& known : kTargets) {
      const bool available = HasTarget(devices, known.name);
      targets.push_back(
          {known.name, available, available ? ProcessorName(core, known.name) : known.missing});
    }
    return OkStatus();
  };
  if (const Status status = Guarded("listing targets", list); !status.ok()) {
    targets.clear();
    for (const KnownTarget& known : kTargets) {
      targets.push_back({known.name, false, status.message()});
    }
  }
  return targets;
}

Result<std::unique_ptr<Runtime>> Runtime::Open(const Settings& settings) {
  using Opened = Result<std::unique_ptr<Runtime>>;
  const auto known = std::find_if(kTargets.begin(), kTargets.end(),
                                  [&](const KnownTarget& t) { return settings.target == t.name; });
  if (known == kTargets.end()) {
    return UsageError(
        fmt::format("target '{}' is not known; known: NPU, GPU, CPU", settings.target));
  }
  return Guarded("opening the library", [&]() -> Opened {
    const BoundToCore bound(settings.core);
    ov::Core probe;
    if (!HasTarget(probe.get_available_devices(), settings.target)) {
      return Unsupported(known->missing);
    }
    Settings kept = settings;
    std::error_code error;
    if (!kept.cache_dir.empty()) std::filesystem::create_directories(kept.cache_dir, error);
    if (error) {
      LogWarning(fmt::format("{}: {}; compiled programs are not kept", kept.cache_dir.string(),
                             error.message()));
      kept.cache_dir.clear();
    }
    const std::string processor = ProcessorName(probe, settings.target);
    return std::unique_ptr<Runtime>(new Runtime(std::move(kept), processor));
  });
}

int Runtime::max_running() const {
  // CPU: each request uses all threads. The others overlap one request's transfer with the
  // computation of another; two are enough for that.
  return settings_.target == "CPU" ? 1 : 2;
}

ov::AnyMap Runtime::Properties() const {
  ov::AnyMap properties = {ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY)};
  if (settings_.target == "CPU") {
    properties.insert(ov::hint::inference_precision(ov::element::f32));
    properties.insert(ov::num_streams(ov::streams::Num(1)));
    properties.insert(ov::inference_num_threads(settings_.threads));
    properties.insert(ov::hint::enable_cpu_pinning(false));
    // fp16 constants stay what they are; activations are not quantised behind our back.
    properties.insert(ov::hint::dynamic_quantization_group_size(0));
  }
  return properties;
}

Status Runtime::Supports(const std::shared_ptr<ov::Model>& model) {
  return Guarded("asking the target", [&]() -> Status {
    const auto supported = core_.query_model(model, settings_.target, Properties());
    std::set<std::string> refused;
    for (const auto& node : model->get_ordered_ops()) {
      if (supported.find(node->get_friendly_name()) == supported.end()) {
        refused.insert(fmt::format("{} ({})", node->get_friendly_name(), node->get_type_name()));
      }
    }
    if (refused.empty()) return OkStatus();
    return Unsupported(fmt::format("target {} does not take {} operation(s), e.g. {}",
                                   settings_.target, refused.size(), *refused.begin()));
  });
}

Result<ov::CompiledModel> Runtime::Compile(const std::shared_ptr<ov::Model>& model) {
  using Compiled = Result<ov::CompiledModel>;
  const BoundToCore bound(settings_.core);
  const auto compile = [&](const ov::AnyMap& properties) {
    return Guarded("compiling", [&]() -> Compiled {
      return core_.compile_model(model, settings_.target, properties);
    });
  };
  if (settings_.cache_dir.empty()) return compile(Properties());
  ov::AnyMap cached = Properties();
  cached.insert(ov::cache_dir(settings_.cache_dir.string()));
  Compiled compiled = compile(cached);
  if (compiled.ok()) return compiled;
  Compiled uncached = compile(Properties());  // the cache may be what is broken
  if (uncached.ok()) LogWarning("program cache: " + compiled.status().message());
  return uncached;
}

}  // namespace npumoe::openvino
