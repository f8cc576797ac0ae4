#include "npu/coreml/coreml_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace npumoe::coreml_device {

int Core::RunsNow() {
  const std::lock_guard lock(activity_mutex_);
  const double now_ms = parts.clock->NowMs();
  const bool is_idle = requests.IsIdle() && now_ms - last_activity_ms_ > options.idle_ms;
  last_activity_ms_ = now_ms;
  return is_idle ? 1 + options.warm_up_runs : 1;
}

Result<std::shared_ptr<const void>> Core::TakePlace(const std::shared_ptr<Core>& core) {
  NPUMOE_RETURN_IF_ERROR(core->places.Take());
  return std::shared_ptr<const void>(core.get(), [core](const void*) { core->places.Free(); });
}

void Core::MarkActive() {
  const std::lock_guard lock(activity_mutex_);
  last_activity_ms_ = parts.clock->NowMs();
}

std::string Describe(const TensorSpec& spec) {
  return fmt::format("'{}' {} {}", spec.name, Name(spec.dtype), spec.shape.ToString());
}

CoremlProgram::CoremlProgram(std::shared_ptr<Core> core, Parts parts)
    : core_(std::move(core)), parts_(std::move(parts)), opened_(core_->opened.load()) {}

Result<std::unique_ptr<DeviceBuffer>> CoremlProgram::Allocate(const TensorSpec& spec) {
  const auto fits = [&](const TensorSpec& own) {
    return own.dtype == spec.dtype && own.shape == spec.shape;
  };
  if (std::none_of(inputs().begin(), inputs().end(), fits) &&
      std::none_of(outputs().begin(), outputs().end(), fits)) {
    return InvalidInput(
        fmt::format("a buffer for {} fits no input or output of the program", Describe(spec)));
  }
  NPUMOE_ASSIGN_OR_RETURN(auto memory, TensorMemory::Make(*core_->parts.bridge, spec));
  return std::unique_ptr<DeviceBuffer>(std::make_unique<CoremlBuffer>(std::move(memory)));
}

std::optional<ComputePlan> CoremlProgram::compute_plan() const {
  return ReportOf(parts_.loaded.placement);
}

std::shared_ptr<const void> CoremlProgram::Keeper() const {
  using Kept = std::pair<std::shared_ptr<CachedModel>, std::shared_ptr<const void>>;
  return std::make_shared<Kept>(parts_.loaded.cached, parts_.place);
}

Status CoremlProgram::CheckNotLost() const {
  if (!core_->lost && opened_ == core_->opened) return OkStatus();
  return {StatusCode::kDeviceLost, "the device was lost; its programs must be loaded again"};
}

}  // namespace npumoe::coreml_device
