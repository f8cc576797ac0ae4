// npumoe profile: measures what launches on a device and work on this machine's CPU cost, fits the
// cost model and writes a chip profile.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/mapped_file.h"
#include "base/temporary_folder.h"
#include "cli/command.h"
#include "cli/devices.h"
#include "cli/engine.h"
#include "cli/machine.h"
#include "cli/measured_profile.h"
#include "cli/profile_report.h"
#include "cli/progress.h"
#include "cli/version.h"

namespace npumoe::cli {
namespace {

struct Options {
  std::string device;
  std::string chip = "m2-max";
  std::string out;
  std::string cpu_weights = "BF16";
  ExpertShape shape;
  int64_t experts = 8;
  int64_t max_rows = 1024;
  int repetitions = 9;
  double budget_s = 60;
  int64_t memory_mb = 600;
  int threads = 0;
  bool quick = false;
  bool keep_cpu = false;
  bool json = false;
};

MeasureLimits LimitsOf(const Options& options) {
  constexpr int kQuickRepetitions = 3;
  constexpr double kMsPerSecond = 1e3;
  MeasureLimits limits;
  limits.repetitions = options.quick ? kQuickRepetitions : options.repetitions;
  limits.budget_ms = options.budget_s * kMsPerSecond;
  return limits;
}

ProgramGrid GridOf(const Options& options, const ChipProfile& base) {
  constexpr int64_t kQuickRows = 256;
  const int64_t rows = options.quick ? std::min(options.max_rows, kQuickRows) : options.max_rows;
  return MakeProgramGrid(options.shape, options.experts, std::min(rows, base.limits.max_axis));
}

DType CpuWeights(const Options& options) {
  const std::optional<DType> weights = ParseDType(options.cpu_weights);
  NPUMOE_CHECK(weights.has_value());  // the option takes known ones only
  return *weights;
}

Result<MeasuredPrograms> LoadGrid(const Options& options, const ChipProfile& base, Device& device,
                                  const std::filesystem::path& folder) {
  Progress progress("loading", "programs");
  NPUMOE_ASSIGN_OR_RETURN(
      MeasuredPrograms programs,
      LoadPrograms(device, GridOf(options, base), folder,
                   [&](int64_t done, int64_t total) { progress.Update(done, total); }));
  for (const std::string& refusal : programs.refused) LogWarning("not measured: " + refusal);
  return programs;
}

Result<MeasuredNpu> MeasureDevice(const Options& options, const ChipProfile& base, Device& device,
                                  ThreadPool& pool) {
  NPUMOE_ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::Create("npumoe-profile"));
  NPUMOE_ASSIGN_OR_RETURN(const MeasuredPrograms programs,
                          LoadGrid(options, base, device, folder.path()));
  const MeasureLimits limits = LimitsOf(options);
  Progress progress("launching", "rounds");
  NPUMOE_ASSIGN_OR_RETURN(LaunchTimes times, MeasureLaunches(device, programs, limits,
                                                             [&](int64_t done, int64_t total) {
                                                               progress.Update(done, total);
                                                             }));
  std::optional<OverlapFactors> overlap;
  if (!times.modelled) {
    NPUMOE_ASSIGN_OR_RETURN(overlap, MeasureOverlap(device, programs, options.shape,
                                                    CpuWeights(options), pool, limits));
  }
  return FitNpu(std::move(times), overlap);
}

Result<std::optional<MeasuredCpu>> MeasureThisCpu(const Options& options, ThreadPool& pool) {
  if (options.keep_cpu) return std::optional<MeasuredCpu>();
  Progress progress("CPU", "rounds");
  constexpr int64_t kMega = 1000 * 1000;
  NPUMOE_ASSIGN_OR_RETURN(CpuTimes times,
                          MeasureCpu(options.shape, CpuWeights(options), options.memory_mb * kMega,
                                     pool, LimitsOf(options), [&](int64_t done, int64_t total) {
                                       progress.Update(done, total);
                                     }));
  NPUMOE_ASSIGN_OR_RETURN(MeasuredCpu cpu, FitCpu(std::move(times), pool.threads()));
  return std::optional(std::move(cpu));
}

ProfileOrigin OriginOf(const Options& options, const DeviceInfo& device, int threads) {
  const MachineFacts machine = DescribeMachine();
  ProfileOrigin origin;
  origin.processor =
      fmt::format("{}, {} of {} processors", machine.chip.empty() ? "unknown CPU" : machine.chip,
                  threads, machine.processors);
  origin.device = device.description;
  origin.description = fmt::format("{} on {}", options.device, origin.processor);
  origin.command = fmt::format("npumoe {} profile --device {} --hidden {} --intermediate {}{}",
                               kVersion, options.device, options.shape.hidden,
                               options.shape.intermediate, options.quick ? " --quick" : "");
  origin.memory_bytes = machine.memory_bytes;
  return origin;
}

Status RunProfile(const Options& options) {
  NPUMOE_RETURN_IF_ERROR(CheckDeviceName("--device", options.device));
  if (options.device == kCpuDevice) {
    return UsageError("--device cpu: the CPU is measured beside any device; name the device");
  }
  NPUMOE_ASSIGN_OR_RETURN(const ChipProfile base, LoadChipProfile(options.chip, ChipFolders()));
  ThreadPool pool(options.threads);
  NPUMOE_ASSIGN_OR_RETURN(const auto device, MakeDevice(options.device, base, pool));
  NPUMOE_ASSIGN_OR_RETURN(const MeasuredNpu npu, MeasureDevice(options, base, *device, pool));
  NPUMOE_ASSIGN_OR_RETURN(const std::optional<MeasuredCpu> cpu, MeasureThisCpu(options, pool));
  NPUMOE_ASSIGN_OR_RETURN(
      const ChipProfile profile,
      MakeMeasuredProfile(base, npu, cpu, OriginOf(options, device->info(), pool.threads()),
                          options.out.empty() ? "measured" : options.out));
  if (!options.out.empty()) {
    NPUMOE_RETURN_IF_ERROR(WriteFileAtomically(options.out, profile.toml));
  }
  fmt::print("{}", options.json ? ProfileJson(npu, cpu, profile) : ProfileText(npu, cpu, profile));
  if (options.json) return OkStatus();
  if (options.out.empty()) {
    fmt::print("\nnote: nothing was written; -o FILE.toml keeps the profile\n");
  } else {
    fmt::print("\nprofile -> {}; npumoe plan --chip {} plans with it\n", options.out, options.out);
  }
  return OkStatus();
}

void AddGridOptions(CLI::App& command, Options& options) {
  command.add_option("--hidden", options.shape.hidden, "Hidden size of the measured experts")
      ->check(CLI::Range(int64_t{64}, int64_t{16384}))
      ->capture_default_str();
  command
      .add_option("--intermediate", options.shape.intermediate,
                  "Intermediate size of the measured experts")
      ->check(CLI::Range(int64_t{64}, int64_t{16384}))
      ->capture_default_str();
  command.add_option("--experts", options.experts, "Experts of the larger programs")
      ->check(CLI::Range(int64_t{4}, int64_t{64}))
      ->capture_default_str();
  command.add_option("--max-rows", options.max_rows, "Largest capacity")
      ->check(CLI::Range(int64_t{32}, int64_t{4096}))
      ->capture_default_str();
  command.add_option("-r,--repetitions", options.repetitions, "Of every shape, after a warm-up")
      ->check(CLI::Range(3, 1000))
      ->capture_default_str();
  command
      .add_option("--budget", options.budget_s,
                  "Seconds for each side, after which no further round begins")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  command.add_flag("--quick", options.quick, "Three repetitions, capacities up to 256");
}

}  // namespace

void AddProfileCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand(
      "profile", "Measure what a device and this machine's CPU cost; write a chip profile");
  auto options = std::make_shared<Options>();
  command->add_option("--device", options->device, "Device to measure; `npumoe --list-devices`")
      ->required();
  command
      ->add_option("--chip", options->chip,
                   "Chip profile, a name or a .toml file: what cannot be measured (limits, powers) "
                   "is taken from it, and the emulator models it")
      ->capture_default_str();
  AddGridOptions(*command, *options);
  command
      ->add_option("--cpu-weights", options->cpu_weights,
                   "Type of weights that the CPU is measured with: that of the model")
      ->check(CLI::IsMember({"F32", "F16", "BF16", "Q8_0", "Q4_0"}))
      ->capture_default_str();
  command->add_flag("--keep-cpu", options->keep_cpu,
                    "Leave the CPU's figures as the chip profile has them");
  command
      ->add_option("--memory", options->memory_mb,
                   "MB of weights that the CPU is measured with: more than its caches hold")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("-t,--threads", options->threads, "CPU threads (0: one per processor)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("--out,-o", options->out, "Output .toml file");
  command->add_flag("--json", options->json, "Machine-readable output");
  command->footer(
      "Example:\n  npumoe profile --device openvino:CPU -o this-machine.toml\n"
      "  npumoe plan models/demo --calibration demo.calib.json --chip this-machine.toml");
  command->callback(
      [options, &selected] { selected = [options] { return RunProfile(*options); }; });
}

}  // namespace npumoe::cli
