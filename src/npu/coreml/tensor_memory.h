// TensorMemory: one input or output on both sides of the border. The engine sees it row-major
// without gaps; Core ML sees a buffer, shared with the Neural Engine where it gives one. Where the
// two agree they are the same bytes; where rows are padded the engine has a copy.
//
// Thread rules: one owner at a time. Between Release and Reclaim it is the device's.
#pragma once

#include <memory>
#include <span>

#include "base/aligned_buffer.h"
#include "base/status.h"
#include "base/tensor_view.h"
#include "npu/coreml/coreml_bridge.h"

namespace npumoe::coreml_device {

class TensorMemory {
 public:
  // Shared memory for fp16, else and where the system refuses it plain memory. Zeros.
  static Result<std::shared_ptr<TensorMemory>> Make(Bridge& bridge, const TensorSpec& spec);
  ~TensorMemory();
  TensorMemory(const TensorMemory&) = delete;
  TensorMemory& operator=(const TensorMemory&) = delete;

  const TensorSpec& spec() const { return spec_; }
  std::span<std::byte> bytes() { return is_copied_ ? copy_.span() : locked_; }
  bool is_copied() const { return is_copied_; }
  const std::shared_ptr<Buffer>& buffer() const { return buffer_; }

  // Before a prediction: hands the contents over.
  Status Release();
  // After it: takes the contents back. kIo when the system does not give them; the memory is then
  // zeros and remains usable.
  Status Reclaim();
  // After Reclaim, for an output that Core ML put elsewhere.
  Status TakeFrom(const ArrayLayout& layout, std::span<const std::byte> memory);

 private:
  TensorMemory(TensorSpec spec, std::shared_ptr<Buffer> buffer)
      : spec_(std::move(spec)), buffer_(std::move(buffer)) {}
  Status Prepare();
  void UseCopy();

  TensorSpec spec_;
  std::shared_ptr<Buffer> buffer_;
  bool is_copied_ = false;
  AlignedBuffer<std::byte> copy_;
  std::span<std::byte> locked_;  // not empty: the buffer is locked
};

}  // namespace npumoe::coreml_device
