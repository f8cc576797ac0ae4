#include "npu/worker/hosted_programs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "npu/device_registry.h"
#include "npu/emulator/emulator.h"
#include "npu/profile.h"

namespace npumoe::worker {
namespace {

constexpr int64_t kMaxThreads = 1024;
constexpr size_t kMaxPrograms = 1 << 16;
constexpr size_t kMaxSegments = 1024;
constexpr int64_t kMaxSegmentBytes = int64_t{1} << 46;
// The engine keeps the clock: it ends a worker whose load or launch takes too long.
constexpr double kForEverMs = 1e9;

}  // namespace

Result<std::unique_ptr<HostedPrograms>> HostedPrograms::Open(const Configure& configure) {
  if (configure.threads < 1 || configure.threads > kMaxThreads) {
    return InvalidInput(
        fmt::format("{} threads; 1 to {} are possible", configure.threads, kMaxThreads));
  }
  NPUMOE_ASSIGN_OR_RETURN(const ChipProfile profile,
                          ParseChipProfile(configure.profile_toml, configure.profile_name));
  std::unique_ptr<HostedPrograms> hosted(new HostedPrograms());
  hosted->pool_ = std::make_unique<ThreadPool>(static_cast<int>(configure.threads));
  DeviceOptions options;
  options.cache_dir = configure.cache_dir;
  options.load_timeout_ms = kForEverMs;
  NPUMOE_ASSIGN_OR_RETURN(hosted->device_,
                          MakeDevice(configure.device, profile, *hosted->pool_, options));
  return hosted;
}

Status HostedPrograms::Map(const MapSegment& segment, const FileDescriptor& descriptor) {
  if (segment.bytes < 1 || segment.bytes > kMaxSegmentBytes || segments_.size() >= kMaxSegments ||
      segments_.contains(segment.segment)) {
    return InvalidInput(
        fmt::format("segment {} of {} bytes cannot be", segment.segment, segment.bytes));
  }
  NPUMOE_ASSIGN_OR_RETURN(segments_[segment.segment],
                          SharedSegment::Map(descriptor, static_cast<size_t>(segment.bytes)));
  return OkStatus();
}

Status HostedPrograms::HandOver(std::vector<emulator::FaultEffect> faults) {
  if (faults.empty()) return OkStatus();
  auto* target = dynamic_cast<emulator::FaultTarget*>(device_.get());
  if (target == nullptr) return InvalidInput("faults came for a device that has none");
  target->InjectNext(std::move(faults));
  return OkStatus();
}

Result<Loaded> HostedPrograms::Load(const worker::Load& load) {
  if (programs_.size() >= kMaxPrograms || programs_.contains(load.program)) {
    return InvalidInput(
        fmt::format("program {} cannot be loaded: it is, or too many are", load.program));
  }
  NPUMOE_RETURN_IF_ERROR(HandOver(load.faults));
  Loaded loaded;
  loaded.program = load.program;
  auto program = device_->Load(load.package, load.function);
  loaded.status = program.status();
  if (!program.ok()) return loaded;
  loaded.inputs = (*program)->inputs();
  loaded.outputs = (*program)->outputs();
  loaded.weight_bytes = (*program)->weight_bytes();
  loaded.load_report = (*program)->load_report();
  loaded.compute_plan = (*program)->compute_plan();
  programs_[load.program].program = *std::move(program);
  return loaded;
}

Status HostedPrograms::Unload(const worker::Unload& unload) {
  if (programs_.erase(unload.program) == 1) return OkStatus();
  return InvalidInput(fmt::format("program {} is not loaded", unload.program));
}

Status HostedPrograms::Supports(const worker::Supports& question) {
  return device_->Supports(question.package, question.function);
}

Result<std::span<std::byte>> HostedPrograms::Find(const BufferPlace& place,
                                                  const TensorSpec& spec) const {
  const auto found = segments_.find(place.segment);
  if (found == segments_.end()) {
    return InvalidInput(fmt::format("segment {} is not mapped", place.segment));
  }
  const std::span<std::byte> all = found->second->bytes();
  const auto size = static_cast<int64_t>(all.size());
  if (place.offset < 0 || place.bytes < 0 || place.offset > size ||
      place.bytes > size - place.offset || place.bytes != static_cast<int64_t>(spec.bytes())) {
    return InvalidInput(fmt::format("{} bytes at {} of a segment of {} are no place for '{}'",
                                    place.bytes, place.offset, size, spec.name));
  }
  return all.subspan(static_cast<size_t>(place.offset), static_cast<size_t>(place.bytes));
}

// `own` are the buffers that the device allocated for this side, where it takes no memory of
// others.
Status HostedPrograms::Bind(Program& program, const std::vector<TensorSpec>& specs,
                            std::span<const std::span<std::byte>> memory, Side& own, Bound& bound) {
  own.resize(specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    auto wrapped = program.Wrap(specs[i], memory[i]);
    if (wrapped.ok()) {
      bound.buffers.push_back(wrapped->get());
      bound.wrapped.push_back(*std::move(wrapped));
      continue;
    }
    if (wrapped.status().code() != StatusCode::kUnsupported) return wrapped.status();
    if (own[i] == nullptr) {
      NPUMOE_ASSIGN_OR_RETURN(own[i], program.Allocate(specs[i]));
    }
    bound.buffers.push_back(own[i].get());
  }
  return OkStatus();
}

Result<LaunchReport> HostedPrograms::Run(Hosted& hosted, const LaunchCall& launch,
                                         std::span<const std::span<std::byte>> inputs,
                                         std::span<const std::span<std::byte>> outputs) {
  Program& program = *hosted.program;
  Bound in, out;
  NPUMOE_RETURN_IF_ERROR(Bind(program, program.inputs(), inputs, hosted.own_inputs, in));
  NPUMOE_RETURN_IF_ERROR(Bind(program, program.outputs(), outputs, hosted.own_outputs, out));
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (hosted.own_inputs[i] == nullptr) continue;
    std::memcpy(hosted.own_inputs[i]->bytes().data(), inputs[i].data(), inputs[i].size());
  }
  const std::vector<int> rows(launch.rows.begin(), launch.rows.end());
  NPUMOE_ASSIGN_OR_RETURN(const RequestId request,
                          device_->Submit({&program, in.buffers, out.buffers, rows}));
  auto report = device_->Wait(request, kForEverMs);
  while (!report.ok() && report.status().code() == StatusCode::kDeadlineExceeded) {
    report = device_->Wait(request, kForEverMs);
  }
  if (!report.ok()) return report.status();
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (hosted.own_outputs[i] == nullptr) continue;
    std::memcpy(outputs[i].data(), hosted.own_outputs[i]->bytes().data(), outputs[i].size());
  }
  return *report;
}

Result<Done> HostedPrograms::Launch(const LaunchCall& launch) {
  const auto found = programs_.find(launch.program);
  if (found == programs_.end()) {
    return InvalidInput(fmt::format("program {} is not loaded", launch.program));
  }
  Program& program = *found->second.program;
  if (launch.inputs.size() != program.inputs().size() ||
      launch.outputs.size() != program.outputs().size()) {
    return InvalidInput("a launch has another number of tensors than its program");
  }
  std::vector<std::span<std::byte>> inputs, outputs;
  for (size_t i = 0; i < launch.inputs.size(); ++i) {
    NPUMOE_ASSIGN_OR_RETURN(inputs.emplace_back(), Find(launch.inputs[i], program.inputs()[i]));
  }
  for (size_t i = 0; i < launch.outputs.size(); ++i) {
    NPUMOE_ASSIGN_OR_RETURN(outputs.emplace_back(), Find(launch.outputs[i], program.outputs()[i]));
  }
  NPUMOE_RETURN_IF_ERROR(HandOver(launch.faults));
  Done done;
  done.request = launch.request;
  auto report = Run(found->second, launch, inputs, outputs);
  done.status = report.status();
  if (report.ok()) done.report = *report;
  return done;
}

}  // namespace npumoe::worker
