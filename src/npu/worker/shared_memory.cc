#include "npu/worker/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace npumoe::worker {
namespace {

constexpr size_t kPage = 16384;  // of the systems with the largest; ranges begin on multiples
constexpr size_t kSegmentBytes = size_t{64} << 20;  // chosen: buffers of a launch have few MB
constexpr size_t kMaxBytes = size_t{1} << 46;

size_t WholePages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

Status NoMemory(size_t bytes) {
  return ResourceExhausted(fmt::format("no memory for {} bytes shared with the workers: {}", bytes,
                                       std::strerror(errno)));
}

FileDescriptor AnonymousFile() {
#ifdef __linux__
  return FileDescriptor(memfd_create("npumoe", MFD_CLOEXEC | MFD_ALLOW_SEALING));
#else
  static std::atomic<int> count{0};  // names the object for the moment in which it has a name
  const std::string name = fmt::format("/npumoe-{}-{}", getpid(), ++count);
  FileDescriptor file(shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
  if (file.valid()) shm_unlink(name.c_str());
  return file;
#endif
}

void Seal([[maybe_unused]] int descriptor) {
#ifdef F_ADD_SEALS
  fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
#endif
}

Result<std::span<std::byte>> MapFile(int descriptor, size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (at == MAP_FAILED) return NoMemory(bytes);
  return std::span(static_cast<std::byte*>(at), bytes);
}

}  // namespace

Result<std::unique_ptr<SharedSegment>> SharedSegment::Create(size_t bytes) {
  std::unique_ptr<SharedSegment> segment(new SharedSegment());
  segment->descriptor_ = AnonymousFile();
  const int descriptor = segment->descriptor();
  if (descriptor < 0 || ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) {
    return NoMemory(bytes);
  }
  Seal(descriptor);
  NPUMOE_ASSIGN_OR_RETURN(segment->bytes_, MapFile(descriptor, bytes));
  return segment;
}

Result<std::unique_ptr<SharedSegment>> SharedSegment::Map(const FileDescriptor& descriptor,
                                                          size_t bytes) {
  struct stat info = {};
  if (fstat(descriptor.get(), &info) != 0 || info.st_size < 0 ||
      static_cast<size_t>(info.st_size) < bytes || bytes == 0) {
    return InvalidInput(fmt::format("a segment of {} bytes came as a file of {}", bytes,
                                    static_cast<int64_t>(info.st_size)));
  }
  std::unique_ptr<SharedSegment> segment(new SharedSegment());
  NPUMOE_ASSIGN_OR_RETURN(segment->bytes_, MapFile(descriptor.get(), bytes));
  return segment;
}

SharedSegment::~SharedSegment() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

Status SharedSegment::Commit([[maybe_unused]] size_t offset, [[maybe_unused]] size_t bytes) {
#ifdef __linux__
  // So that a full memory is an error here, not a signal at the first touch.
  while (fallocate(descriptor(), 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)) != 0) {
    if (errno != EINTR) return NoMemory(bytes);
  }
#endif
  return OkStatus();
}

void SharedSegment::Decommit(size_t offset, size_t bytes) {
#ifdef __linux__
  if (fallocate(descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                static_cast<off_t>(offset), static_cast<off_t>(bytes)) == 0) {
    return;
  }
#endif
  std::memset(bytes_.data() + offset, 0, bytes);
}

Result<SharedRange> SharedArena::Take(int64_t segment, std::map<size_t, size_t>::iterator place,
                                      size_t pages, size_t bytes) {
  Region& region = regions_[static_cast<size_t>(segment)];
  const size_t offset = place->first;
  const size_t rest = place->second - pages;
  NPUMOE_RETURN_IF_ERROR(region.segment->Commit(offset, pages));
  region.free.erase(place);
  if (rest > 0) region.free[offset + pages] = rest;
  return SharedRange{segment, offset, region.segment->bytes().subspan(offset, bytes)};
}

Result<SharedRange> SharedArena::Allocate(size_t bytes) {
  if (bytes > kMaxBytes) return ResourceExhausted(fmt::format("no memory for {} bytes", bytes));
  const size_t pages = WholePages(std::max<size_t>(bytes, 1));
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < regions_.size(); ++i) {
    auto& free = regions_[i].free;
    const auto fits = [&](const auto& place) { return place.second >= pages; };
    const auto place = std::find_if(free.begin(), free.end(), fits);
    if (place != free.end()) return Take(static_cast<int64_t>(i), place, pages, bytes);
  }
  NPUMOE_ASSIGN_OR_RETURN(auto segment, SharedSegment::Create(std::max(pages, kSegmentBytes)));
  const size_t size = segment->bytes().size();
  regions_.push_back({std::move(segment), {{0, size}}});
  return Take(static_cast<int64_t>(regions_.size()) - 1, regions_.back().free.begin(), pages,
              bytes);
}

void SharedArena::Free(const SharedRange& range) {
  const size_t pages = WholePages(std::max<size_t>(range.bytes.size(), 1));
  const std::lock_guard lock(mutex_);
  Region& region = regions_[static_cast<size_t>(range.segment)];
  region.segment->Decommit(range.offset, pages);
  auto place = region.free.emplace(range.offset, pages).first;
  if (const auto next = std::next(place);
      next != region.free.end() && place->first + place->second == next->first) {
    place->second += next->second;
    region.free.erase(next);
  }
  if (place == region.free.begin()) return;
  const auto before = std::prev(place);
  if (before->first + before->second != place->first) return;
  before->second += place->second;
  region.free.erase(place);
}

SharedArena::SegmentInfo SharedArena::Segment(int64_t segment) const {
  const std::lock_guard lock(mutex_);
  NPUMOE_CHECK(segment >= 0 && segment < static_cast<int64_t>(regions_.size()));
  const SharedSegment& found = *regions_[static_cast<size_t>(segment)].segment;
  return {found.descriptor(), found.bytes().size()};
}

}  // namespace npumoe::worker
