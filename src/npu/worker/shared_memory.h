// Memory that the engine and its workers share. A segment is an anonymous file (memfd; where there
// is none, a POSIX shared memory object that loses its name at once), so that nothing is left
// behind however the processes end. A worker gets a descriptor of it; where the system can seal
// files, it cannot shrink it under the engine's feet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/status.h"
#include "npu/worker/file_descriptor.h"

namespace npumoe::worker {

class SharedSegment {
 public:
  // Memory is taken from the system when it is committed or touched, not here.
  static Result<std::unique_ptr<SharedSegment>> Create(size_t bytes);
  // Of the other process; the descriptor may be closed afterwards.
  static Result<std::unique_ptr<SharedSegment>> Map(const FileDescriptor& descriptor, size_t bytes);
  ~SharedSegment();
  SharedSegment(const SharedSegment&) = delete;
  SharedSegment& operator=(const SharedSegment&) = delete;

  std::span<std::byte> bytes() const { return bytes_; }
  int descriptor() const { return descriptor_.get(); }
  // Takes memory for a range of whole pages; kResourceExhausted when there is none.
  Status Commit(size_t offset, size_t bytes);
  // Gives it back; the range reads as zeros.
  void Decommit(size_t offset, size_t bytes);

 private:
  SharedSegment() = default;
  FileDescriptor descriptor_;  // the creator's
  std::span<std::byte> bytes_;
};

struct SharedRange {
  int64_t segment = 0;
  size_t offset = 0;
  std::span<std::byte> bytes;
};

// Ranges of few segments, so that hundreds of buffers do not need hundreds of descriptors. Ranges
// begin on pages and are zeros. Thread-safe; segments live as long as the arena.
class SharedArena {
 public:
  Result<SharedRange> Allocate(size_t bytes);
  void Free(const SharedRange& range);

  struct SegmentInfo {
    int descriptor = -1;
    size_t bytes = 0;
  };
  SegmentInfo Segment(int64_t segment) const;

 private:
  struct Region {
    std::unique_ptr<SharedSegment> segment;
    std::map<size_t, size_t> free;  // offset -> bytes, never adjacent
  };
  Result<SharedRange> Take(int64_t segment, std::map<size_t, size_t>::iterator place, size_t pages,
                           size_t bytes);

  mutable std::mutex mutex_;
  std::vector<Region> regions_;  // segment numbers are indices
};

}  // namespace npumoe::worker
