#include "cli/engine.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <utility>

#include "base/log.h"
#include "base/mapped_file.h"
#include "cli/devices.h"
#include "cli/progress.h"
#include "cli/wrong_file.h"
#include "npu/worker/worker_device.h"

namespace npumoe::cli {
namespace {

constexpr size_t kMaxPlanBytes = size_t{64} << 20;  // chosen: 48 layers x 128 experts need 200 kB

std::filesystem::path ProgramFolder() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::current_path(error) : program.parent_path();
}

int Workers(const EngineOptions& options, const ChipProfile& profile) {
  return options.npu_workers >= 0 ? options.npu_workers : static_cast<int>(profile.limits.workers);
}

std::filesystem::path CacheFolder(const EngineOptions& options) {
  return options.cache.empty() ? DefaultCacheFolder() : std::filesystem::path(options.cache);
}

Status CompileAndLoad(const EngineOptions& options, Engine& engine) {
  const std::filesystem::path cache = CacheFolder(options);
  {
    Progress progress("compiling", "programs");
    NPUMOE_ASSIGN_OR_RETURN(
        engine.compiled,
        CompilePlan(*engine.plan, *engine.model, *engine.profile, cache,
                    [&](const CompileProgress& p) { progress.Update(p.done, p.total); }));
  }
  NpuExecutorOptions executor;
  if (!options.overflow.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(executor.overflow, ParseOverflowMode(options.overflow));
  }
  executor.allow_lossy = options.allow_lossy ? AllowLossy::kYes : AllowLossy::kNo;
  executor.chunks_in_flight = options.chunks_in_flight;
  executor.timeout_ms = LaunchTimeoutMs(options, *engine.profile);
  executor.retry_pause_ms = options.npu_retry_pause_ms;
  if (options.no_npu_verification) executor.verification = Verification::kOff;
  NPUMOE_ASSIGN_OR_RETURN(
      engine.npu, NpuExecutor::Create(*engine.plan, *engine.profile, engine.model, *engine.device,
                                      engine.compiled.programs, executor));
  return OkStatus();
}

Status OpenPlannedDevice(const EngineOptions& options, Engine& engine) {
  NPUMOE_ASSIGN_OR_RETURN(engine.plan, ReadPlanFile(options.plan));
  NPUMOE_ASSIGN_OR_RETURN(engine.profile, LoadProfileOf(*engine.plan, options.plan));
  NPUMOE_RETURN_IF_ERROR(
      CheckPlanFits(*engine.plan, engine.model->config, engine.model->hash, *engine.profile)
          .WithContext(options.plan));
  NPUMOE_ASSIGN_OR_RETURN(engine.device,
                          MakeDevice(DeviceOf(options), *engine.profile, *engine.pool,
                                     DeviceOptionsOf(options, *engine.profile)));
  return CompileAndLoad(options, engine);
}

}  // namespace

std::string DeviceOf(const EngineOptions& options) {
  return options.device.empty() ? "emulator" : options.device;
}

DeviceOptions DeviceOptionsOf(const EngineOptions& options, const ChipProfile& profile) {
  DeviceOptions device;
  device.cache_dir = CacheFolder(options);
  device.faults = options.npu_faults;
  device.workers = Workers(options, profile);
  device.launch_deadline_ms = options.launch_timeout_ms;
  device.load_timeout_ms = options.load_timeout_ms;
  return device;
}

double LaunchTimeoutMs(const EngineOptions& options, const ChipProfile& profile) {
  // A worker that hangs is restarted at the launch's limit and the launch repeated, three times.
  return options.launch_timeout_ms * (Workers(options, profile) > 0 ? 4 : 1);
}

void AddModelOption(CLI::App& command, EngineOptions& options) {
  command
      .add_option("model,-m,--model", options.model,
                  "Model folder (config.json, *.safetensors) or GGUF file")
      ->required();
}

void AddThreadOption(CLI::App& command, EngineOptions& options) {
  command.add_option("-t,--threads", options.threads, "CPU threads (0: one per processor)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

void AddDeviceOptions(CLI::App& command, EngineOptions& options) {
  command
      .add_option("--device", options.device,
                  "Device of the plan's programs: emulator, cpu (no NPU), ...; `npumoe "
                  "--list-devices` shows all")
      ->capture_default_str();
  command.add_option("--plan", options.plan, "Plan file from `npumoe plan`");
  command.add_option(
      "--cache", options.cache,
      "Folder of compiled packages (default: the user's cache folder, see `npumoe doctor`)");
  command
      .add_option("--overflow", options.overflow,
                  "Tokens beyond an expert's capacity: spill (computed on the CPU) or drop "
                  "(lossy, needs --allow-lossy); default: as the plan says")
      ->check(CLI::IsMember({"spill", "drop"}));
  command.add_flag("--allow-lossy", options.allow_lossy,
                   "Allow --overflow drop, which changes answers");
  command.add_flag("--no-npu-verification", options.no_npu_verification,
                   "Do not compute rows of launches on the CPU, too, to notice wrong numbers");
  command.add_option("--npu-faults", options.npu_faults,
                     "Make the emulator fail: a script such as 'wrong(rows=0.1) @ launch=any' "
                     "(src/npu/emulator/fault_script.h)");
  command.add_flag("--require-npu", options.require_npu,
                   "Exit nonzero when a planned program was refused, failed or was replaced by the "
                   "CPU (spill and partial chunks are part of the plan)");
  command
      .add_option("--chunks-in-flight", options.chunks_in_flight,
                  "Prefill chunks whose work may overlap")
      ->check(CLI::Range(1, 2))
      ->capture_default_str();
  command
      .add_option("--launch-timeout-ms", options.launch_timeout_ms,
                  "Longest wait for one launch before its rows go to the CPU")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--load-timeout-ms", options.load_timeout_ms,
                  "Longest wait for the device to load (and compile) one program")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--npu-retry-pause-ms", options.npu_retry_pause_ms,
                  "After this pause a program that failed is tried once more")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--npu-workers", options.npu_workers,
                  "Processes that hold the programs, so that a crash or hang costs a restart "
                  "(0: this one; -1: as the chip profile says)")
      ->check(CLI::Range(-1, kMaxWorkers))
      ->capture_default_str();
}

std::filesystem::path DefaultCacheFolder() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  if (auto cache = variable("NPUMOE_CACHE"); !cache.empty()) return cache;
  if (const auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache / "npumoe";
  if (const auto home = variable("HOME"); !home.empty()) return home / ".cache" / "npumoe";
  return std::filesystem::path(".npumoe-cache");
}

std::vector<std::filesystem::path> ChipFolders() {
  std::vector<std::filesystem::path> folders;
  if (const char* chips = std::getenv("NPUMOE_CHIPS"); chips != nullptr)
    folders.emplace_back(chips);
  const std::filesystem::path program = ProgramFolder();
  folders.push_back(program / "chips");
  folders.push_back(program / ".." / "share" / "npumoe" / "chips");
  folders.push_back(program / ".." / ".." / "chips");  // build/release/npumoe in a checkout
  folders.emplace_back("chips");
  return folders;
}

Result<Plan> ReadPlanFile(const std::string& path) {
  const Result<std::string> text = ReadTextFile(path, kMaxPlanBytes);
  if (!text.ok()) return ExplainWrongFile(path, "", FileRole::kPlan, text.status());
  Result<Plan> plan = ParsePlan(*text, path);
  return plan.ok() ? plan : ExplainWrongFile(path, *text, FileRole::kPlan, plan.status());
}

Result<ChipProfile> LoadProfileOf(const Plan& plan, const std::filesystem::path& plan_path) {
  std::vector<std::filesystem::path> folders = ChipFolders();
  folders.push_back(plan_path.parent_path().empty() ? "." : plan_path.parent_path());
  return LoadChipProfile(plan.profile_name, folders);
}

Result<std::unique_ptr<Engine>> OpenEngine(const EngineOptions& options) {
  if (!options.device.empty()) {
    NPUMOE_RETURN_IF_ERROR(CheckDeviceName("--device", options.device));
  }
  if (options.require_npu && (options.plan.empty() || options.device == kCpuDevice)) {
    return UsageError("--require-npu needs --plan FILE and a device other than cpu");
  }
  if (options.device != kCpuDevice && !options.device.empty() && options.plan.empty()) {
    return UsageError(fmt::format(
        "--device {} needs --plan FILE: which experts run there is decided by `npumoe plan`",
        options.device));
  }
  if (options.overflow == "drop" && !options.allow_lossy) {
    return UsageError(
        "--overflow drop changes answers: add --allow-lossy, or use --overflow spill, which loses "
        "nothing");
  }
  auto engine = std::make_unique<Engine>();
  engine->pool = std::make_unique<ThreadPool>(options.threads);
  NPUMOE_ASSIGN_OR_RETURN(engine->model, LoadModel(options.model));
  if (!options.plan.empty() && options.device != kCpuDevice) {
    NPUMOE_RETURN_IF_ERROR(OpenPlannedDevice(options, *engine));
  }
  return engine;
}

Result<std::unique_ptr<Session>> Engine::NewSession(int64_t context_tokens, Observer* observer,
                                                    On on, int cpu_chunk) {
  SessionOptions options;
  options.context_tokens = context_tokens;
  options.cpu_chunk_tokens = cpu_chunk;
  options.npu = on == On::kCpu ? nullptr : npu.get();
  options.observer = observer;
  return Session::Create(model, *pool, options);
}

const char* Engine::PrefillTimeSource() const {
  if (!uses_npu()) return "measured";
  return npu->report().modelled ? "measured CPU, modelled NPU" : "measured";
}

namespace {

// "3 degradations, 20 expert rows computed on the CPU instead; the first: load of layer 1 ...";
// empty without any.
std::string DegradationsText(const PlacementReport& report) {
  const int64_t count = report.degradations();
  for (const ProgramPlacement& program : report.programs) {
    if (program.degradations.empty()) continue;
    const Degradation& first = program.degradations.front();
    return fmt::format(
        "{} degradation{}, {} rows computed on the CPU instead; the first: {} of {}: {}", count,
        count == 1 ? "" : "s", report.degraded_rows, first.what, Describe(program.id),
        first.reason);
  }
  return "";
}

}  // namespace

void Engine::WarnOfDegradations() const {
  if (!uses_npu()) return;
  const std::string text = DegradationsText(npu->report());
  if (!text.empty()) LogWarning(text);
}

Status CheckRequiredNpu(const Engine& engine, const EngineOptions& options) {
  engine.WarnOfDegradations();
  if (!options.require_npu) return OkStatus();
  const std::string text = DegradationsText(engine.npu->report());
  return text.empty() ? OkStatus() : Unsupported("--require-npu: " + text);
}

}  // namespace npumoe::cli
