#include "npu/openvino/module/buffers.h"

#include <fmt/format.h>

#include <cstring>
#include <new>
#include <openvino/runtime/compiled_model.hpp>
#include <utility>

#include "npu/openvino/module/failures.h"
#include "npu/openvino/module/lowering.h"

namespace npumoe::openvino {
namespace {

using Buffer = Result<std::unique_ptr<DeviceBuffer>>;

constexpr size_t kWrapAlignment = 64;  // what Program::Wrap asks of its caller

std::unique_ptr<DeviceBuffer> Make(const TensorSpec& spec, ov::Tensor tensor,
                                   AlignedBuffer<std::byte> owned) {
  return std::make_unique<TensorBuffer>(spec, std::move(tensor), std::move(owned));
}

Buffer AllocateOurs(const TensorSpec& spec) {
  AlignedBuffer<std::byte> memory(spec.bytes());
  ov::Tensor tensor(ElementType(spec.dtype), ShapeOf(spec.shape), memory.data());
  return Make(spec, std::move(tensor), std::move(memory));
}

}  // namespace

Buffer AllocateBuffer(const TensorSpec& spec, HostMemory memory, const ov::CompiledModel& model) {
  const std::string doing = fmt::format("allocating a buffer of {} bytes", spec.bytes());
  if (memory == HostMemory::kOfTarget) {
    Buffer shared = Guarded(doing, [&]() -> Buffer {
      ov::Tensor tensor =
          model.get_context().create_host_tensor(ElementType(spec.dtype), ShapeOf(spec.shape));
      std::memset(tensor.data(), 0, tensor.get_byte_size());
      return Make(spec, std::move(tensor), {});
    });
    // A target without such memory takes ours and copies.
    if (shared.ok() || shared.status().code() == StatusCode::kResourceExhausted) return shared;
  }
  return Guarded(doing, [&] { return AllocateOurs(spec); });
}

Buffer WrapBuffer(const TensorSpec& spec, std::span<std::byte> memory) {
  if (memory.size() != spec.bytes()) {
    return InvalidInput(
        fmt::format("{} bytes of memory for a tensor of {}", memory.size(), spec.bytes()));
  }
  if (reinterpret_cast<uintptr_t>(memory.data()) % kWrapAlignment != 0) {
    return InvalidInput(fmt::format("memory that is not aligned to {} bytes", kWrapAlignment));
  }
  return Guarded("wrapping a buffer", [&]() -> Buffer {
    return Make(spec, ov::Tensor(ElementType(spec.dtype), ShapeOf(spec.shape), memory.data()), {});
  });
}

}  // namespace npumoe::openvino
