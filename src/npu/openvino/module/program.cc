#include "npu/openvino/module/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "npu/openvino/module/failures.h"

namespace npumoe::openvino {

bool SameLayout(const TensorSpec& a, const TensorSpec& b) {
  return a.dtype == b.dtype && a.shape == b.shape;
}

std::string Describe(const TensorSpec& spec) {
  return fmt::format("'{}' {} {}", spec.name, Name(spec.dtype), spec.shape.ToString());
}

CompiledProgram::CompiledProgram(std::shared_ptr<Core> core, const Graph& graph,
                                 ov::CompiledModel model, double load_ms)
    : core_(std::move(core)),
      model_(std::move(model)),
      inputs_(graph.inputs),
      weight_bytes_(graph.WeightBytes()),
      load_ms_(load_ms) {
  for (const std::string& name : graph.outputs) outputs_.push_back(*graph.Find(name));
}

CompiledProgram::~CompiledProgram() { core_->queue.Forget(this); }

Status CompiledProgram::CheckSpec(const TensorSpec& spec) const {
  const auto fits = [&](const TensorSpec& own) { return SameLayout(own, spec); };
  if (std::any_of(inputs_.begin(), inputs_.end(), fits)) return OkStatus();
  if (std::any_of(outputs_.begin(), outputs_.end(), fits)) return OkStatus();
  return InvalidInput(
      fmt::format("a buffer for {} fits no input or output of the program", Describe(spec)));
}

Result<std::unique_ptr<DeviceBuffer>> CompiledProgram::Allocate(const TensorSpec& spec) {
  NPUMOE_RETURN_IF_ERROR(CheckSpec(spec));
  const bool ours = core_->runtime->settings().target == "CPU";
  return AllocateBuffer(spec, ours ? HostMemory::kOurs : HostMemory::kOfTarget, model_);
}

Result<std::unique_ptr<DeviceBuffer>> CompiledProgram::Wrap(const TensorSpec& spec,
                                                            std::span<std::byte> memory) {
  NPUMOE_RETURN_IF_ERROR(CheckSpec(spec));
  return WrapBuffer(spec, memory);
}

std::unique_ptr<InferSlot> CompiledProgram::MakeSlot() {
  auto slot = std::make_unique<InferSlot>();
  slot->request = model_.create_infer_request();
  // The queue outlives the call: it waits for its requests, and the program keeps it.
  slot->request.set_callback([self = slot.get(), &queue = core_->queue](std::exception_ptr thrown) {
    queue.Finish(self->id, thrown ? FailureOf(thrown, "launching") : OkStatus());
  });
  return slot;
}

std::unique_ptr<InferSlot> CompiledProgram::TakeIdle() {
  std::unique_ptr<InferSlot> slot;
  {
    const std::lock_guard lock(idle_->mutex);
    if (idle_->slots.empty()) return nullptr;
    slot = std::move(idle_->slots.back());
    idle_->slots.pop_back();
  }
  // The callback of its last run may not have returned yet; until then it counts as busy.
  const auto settle = [&]() -> Status {
    slot->request.wait();
    return OkStatus();
  };
  return Guarded("waiting", settle).ok() ? std::move(slot) : nullptr;  // one that failed is dropped
}

std::shared_ptr<InferSlot> CompiledProgram::TakeSlot() {
  std::unique_ptr<InferSlot> slot = TakeIdle();
  if (slot == nullptr) slot = MakeSlot();
  return {slot.release(), [idle = idle_](InferSlot* used) {
            const std::lock_guard lock(idle->mutex);
            idle->slots.emplace_back(used);
          }};
}

Result<RequestId> CompiledProgram::Submit(std::span<TensorBuffer* const> inputs,
                                          std::span<TensorBuffer* const> outputs) {
  using Submitted = Result<RequestId>;
  return Guarded("launching", [&]() -> Submitted {
    const std::shared_ptr<InferSlot> slot = TakeSlot();
    for (size_t i = 0; i < inputs.size(); ++i) {
      slot->request.set_input_tensor(i, inputs[i]->tensor());
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      slot->request.set_output_tensor(i, outputs[i]->tensor());
    }
    return core_->queue.Submit(this, [slot, &queue = core_->queue](RequestId id) {
      slot->id = id;
      const auto start = [&]() -> Status {
        slot->request.start_async();
        return OkStatus();
      };
      if (Status status = Guarded("launching", start); !status.ok()) queue.Finish(id, status);
    });
  });
}

}  // namespace npumoe::openvino
