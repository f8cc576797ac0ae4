// ThreadPool: the one pool that the whole engine shares. The calling thread works too, so a pool
// of one thread starts none. Workers spin for a short while between calls, then sleep.
//
// Thread rules: ParallelFor may be called from any thread, one call runs at a time, others wait
// their turn. A body must not call ParallelFor of the same pool (checked). A body must not throw.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace npumoe {

class ThreadPool {
 public:
  // threads >= 1, the caller included. 0 = one per processor that this process may run on.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // body(index, worker) for every index in [0, count), each once, in no order; 0 <= worker <
  // threads(). Indices are handed out one by one, so make them worth at least some microseconds.
  // Everything written by bodies is visible when this returns.
  void ParallelFor(int64_t count, const std::function<void(int64_t index, int worker)>& body);

  // body(begin, end, worker) over [0, count) cut into about threads() * 4 ranges whose lengths
  // are multiples of `quantum` (but the last).
  void ParallelRanges(int64_t count, int64_t quantum,
                      const std::function<void(int64_t begin, int64_t end, int worker)>& body);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace npumoe
