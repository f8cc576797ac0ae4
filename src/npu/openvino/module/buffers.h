// Buffers: memory that a request reads or writes in place, as the library's tensor and as ours.
#pragma once

#include <memory>
#include <openvino/runtime/tensor.hpp>
#include <span>

#include "base/aligned_buffer.h"
#include "base/status.h"
#include "npu/device.h"

namespace ov {
class CompiledModel;
}

namespace npumoe::openvino {

class TensorBuffer final : public DeviceBuffer {
 public:
  // `owned` empty: the memory belongs to the tensor or to the caller.
  TensorBuffer(const TensorSpec& spec, ov::Tensor tensor, AlignedBuffer<std::byte> owned)
      : spec_(spec), owned_(std::move(owned)), tensor_(std::move(tensor)) {}
  std::span<std::byte> bytes() override {
    return {static_cast<std::byte*>(tensor_.data()), spec_.bytes()};
  }
  const TensorSpec& spec() const { return spec_; }
  const ov::Tensor& tensor() const { return tensor_; }

 private:
  TensorSpec spec_;
  AlignedBuffer<std::byte> owned_;
  ov::Tensor tensor_;
};

enum class HostMemory {
  kOurs,      // the target reads any memory (CPU)
  kOfTarget,  // shared with the target where it offers that (NPU, GPU), so that nothing is copied
};

// Starts as zeros.
Result<std::unique_ptr<DeviceBuffer>> AllocateBuffer(const TensorSpec& spec, HostMemory memory,
                                                     const ov::CompiledModel& model);
Result<std::unique_ptr<DeviceBuffer>> WrapBuffer(const TensorSpec& spec,
                                                 std::span<std::byte> memory);

}  // namespace npumoe::openvino
