// DeviceBufferPool: device buffers by shape, handed out for a launch and taken back after it, so
// that launches of all layers share the few buffers that are in flight at one time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/device.h"

namespace npumoe {

class DeviceBufferPool {
 public:
  // A free buffer of this type and shape, or a fresh one that `program` allocates.
  Result<DeviceBuffer*> Acquire(Program& program, const TensorSpec& spec);
  void Release(DeviceBuffer* buffer);
  int64_t allocated_bytes() const { return allocated_bytes_; }
  // Frees all buffers; none is handed out.
  void Clear();
  // Gives up ownership of a buffer that a device never returned.
  void Leak(DeviceBuffer* buffer);

 private:
  struct Entry {
    std::unique_ptr<DeviceBuffer> buffer;
    std::vector<DeviceBuffer*>* free_list = nullptr;
  };
  std::map<std::string, std::vector<DeviceBuffer*>> free_;  // by type and shape
  std::map<DeviceBuffer*, Entry> all_;
  int64_t allocated_bytes_ = 0;
};

}  // namespace npumoe
