// AlignedBuffer: an owned array whose first element lies on a 128-byte boundary (a cache line
// pair, and the widest vector), so that kernels may use aligned loads. Contents start as zeros.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

#include "base/check.h"

namespace npumoe {

template <class T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr size_t kAlignment = 128;

  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t size) { Resize(size); }

  // Drops the contents; the new ones are zeros. Throws std::bad_alloc like any container.
  void Resize(size_t size) {
    const size_t bytes = (size * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    void* memory = bytes == 0 ? nullptr : std::aligned_alloc(kAlignment, bytes);
    if (bytes != 0 && memory == nullptr) throw std::bad_alloc();
    if (memory != nullptr) std::memset(memory, 0, bytes);
    data_.reset(static_cast<T*>(memory));
    size_ = size;
  }

  // Keeps what is there when it is large enough: contents are unspecified afterwards.
  void EnsureSize(size_t size) {
    if (size_ < size) Resize(size);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  std::span<T> span() { return {data(), size_}; }
  std::span<const T> span() const { return {data(), size_}; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
  size_t size_ = 0;
};

}  // namespace npumoe
