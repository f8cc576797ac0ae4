#include "npu/coreml/tensor_memory.h"

#include <fmt/format.h>

#include <cstring>
#include <new>
#include <utility>

#include "npu/coreml/bridge_failure.h"
#include "npu/coreml/strided_rows.h"

namespace npumoe::coreml_device {
namespace {

Status LockRefused(const TensorSpec& spec) {
  return IoError(fmt::format("buffer '{}': the system does not give access to it", spec.name));
}

std::vector<BufferMemory> KindsFor(const TensorSpec& spec) {
  // Surfaces have one format that Core ML takes, and need an axis that is the width.
  if (spec.dtype != DType::kF16 || spec.shape.rank() == 0) return {BufferMemory::kPlain};
  return {BufferMemory::kSurface, BufferMemory::kPlain};
}

}  // namespace

Result<std::shared_ptr<TensorMemory>> TensorMemory::Make(Bridge& bridge, const TensorSpec& spec) {
  const std::vector<int64_t> shape(spec.shape.axes().begin(), spec.shape.axes().end());
  Status refusal;
  for (const BufferMemory kind : KindsFor(spec)) {
    auto answer = bridge.MakeBuffer(spec.dtype, shape, kind);
    if (const auto* failure = std::get_if<Failure>(&answer)) {
      refusal = StatusOf(*failure, Step::kBuffer).WithContext("'" + spec.name + "'");
      continue;
    }
    try {
      std::shared_ptr<TensorMemory> memory(
          new TensorMemory(spec, std::move(std::get<std::shared_ptr<Buffer>>(answer))));
      refusal = memory->Prepare();
      if (refusal.ok()) return memory;
    } catch (const std::bad_alloc&) {
      return ResourceExhausted(fmt::format("no memory for a buffer of {} bytes", spec.bytes()));
    }
  }
  return refusal;
}

TensorMemory::~TensorMemory() {
  if (!locked_.empty()) buffer_->Unlock();
}

Status TensorMemory::Prepare() {
  locked_ = buffer_->Lock();
  if (locked_.empty()) return LockRefused(spec_);
  NPUMOE_RETURN_IF_ERROR(
      CheckLayout(buffer_->layout(), spec_, locked_.size(), "buffer '" + spec_.name + "'"));
  std::memset(locked_.data(), 0, locked_.size());
  if (!IsDense(buffer_->layout())) {
    UseCopy();
    buffer_->Unlock();
    locked_ = {};
    return OkStatus();
  }
  locked_ = locked_.first(spec_.bytes());
  return OkStatus();
}

void TensorMemory::UseCopy() {
  copy_.Resize(spec_.bytes());
  is_copied_ = true;
}

Status TensorMemory::Release() {
  if (is_copied_) {
    const std::span<std::byte> memory = buffer_->Lock();
    if (memory.empty()) return LockRefused(spec_);
    CopyToStrided(copy_.span(), buffer_->layout(), memory.data());
  }
  buffer_->Unlock();
  locked_ = {};
  return OkStatus();
}

Status TensorMemory::Reclaim() {
  std::span<std::byte> memory = buffer_->Lock();
  // The place may change while nobody holds it; its size does not.
  const Status usable = memory.empty() ? LockRefused(spec_)
                                       : CheckLayout(buffer_->layout(), spec_, memory.size(),
                                                     "buffer '" + spec_.name + "'");
  if (!usable.ok()) {
    if (!memory.empty()) buffer_->Unlock();
    UseCopy();
    return usable;
  }
  if (is_copied_) {
    CopyFromStrided(buffer_->layout(), memory.data(), copy_.span());
    buffer_->Unlock();
    return OkStatus();
  }
  locked_ = memory.first(spec_.bytes());
  return OkStatus();
}

Status TensorMemory::TakeFrom(const ArrayLayout& layout, std::span<const std::byte> memory) {
  NPUMOE_RETURN_IF_ERROR(CheckLayout(layout, spec_, memory.size(), "output '" + spec_.name + "'"));
  CopyFromStrided(layout, memory.data(), bytes());
  return OkStatus();
}

}  // namespace npumoe::coreml_device
