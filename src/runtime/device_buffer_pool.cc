#include "runtime/device_buffer_pool.h"

#include "base/check.h"

namespace npumoe {

Result<DeviceBuffer*> DeviceBufferPool::Acquire(Program& program, const TensorSpec& spec) {
  std::vector<DeviceBuffer*>& free_list = free_[Name(spec.dtype) + spec.shape.ToString()];
  if (!free_list.empty()) {
    DeviceBuffer* buffer = free_list.back();
    free_list.pop_back();
    return buffer;
  }
  NPUMOE_ASSIGN_OR_RETURN(std::unique_ptr<DeviceBuffer> fresh, program.Allocate(spec));
  DeviceBuffer* buffer = fresh.get();
  allocated_bytes_ += static_cast<int64_t>(spec.bytes());
  all_[buffer] = {std::move(fresh), &free_list};
  return buffer;
}

void DeviceBufferPool::Release(DeviceBuffer* buffer) {
  const auto entry = all_.find(buffer);
  NPUMOE_CHECK(entry != all_.end());
  entry->second.free_list->push_back(buffer);
}

void DeviceBufferPool::Clear() {
  free_.clear();
  all_.clear();
  allocated_bytes_ = 0;
}

void DeviceBufferPool::Leak(DeviceBuffer* buffer) {
  const auto entry = all_.find(buffer);
  NPUMOE_CHECK(entry != all_.end());
  entry->second.buffer.release();
  all_.erase(entry);
}

}  // namespace npumoe
