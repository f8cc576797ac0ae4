// One parallel region at a time. `state_` packs everything that threads agree on:
//
//     epoch (19 bits) | open (1 bit) | entered workers (12 bits)
//
// A worker enters an open region it has not seen by raising the count in one compare-and-swap,
// so the caller, once it has closed the region, waits only for workers that entered. A worker
// that is asleep or preempted is never waited for: its share is done by the others.
#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

#include "base/check.h"
#include "base/checked_math.h"

namespace npumoe {
namespace {

using Body = std::function<void(int64_t, int)>;

constexpr uint32_t kEnteredMask = (1u << 12) - 1;
constexpr uint32_t kOpen = 1u << 12;
constexpr uint32_t kEpochStep = 1u << 13;
constexpr int kMaxThreads = 1024;  // chosen; below kEnteredMask
// Chosen: longer than the serial work between two regions of a decoded token (tens of
// microseconds), short enough that idle workers cost nothing a person would notice.
constexpr auto kSpin = std::chrono::microseconds(80);

uint32_t EpochOf(uint32_t state) { return state / kEpochStep; }

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits up to kSpin for `done`; true when it came.
template <class Condition>
bool Spin(const Condition& done) {
  constexpr int kPausesPerClockRead = 64;  // chosen: a clock read costs about as much
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      if (done()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return done();
}

int AvailableProcessors() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// The pool whose body this thread is running, for the check against nesting.
thread_local const void* running_pool = nullptr;

}  // namespace

class ThreadPool::Impl {
 public:
  explicit Impl(int threads);
  ~Impl();

  int threads() const { return static_cast<int>(workers_.size()) + 1; }
  void Run(int64_t count, const Body& body);

 private:
  void WorkerLoop(int worker);
  bool IsFresh(uint32_t seen_epoch) const;
  void WaitForRegion(uint32_t seen_epoch);
  bool Enter(uint32_t& seen_epoch);
  void Leave();
  void TakeIndices(int worker);
  void OpenRegion(int64_t count, const Body& body);
  void CloseRegion();

  std::mutex call_mutex_;  // held for a whole region: calls take turns

  // Written by the caller while the region is closed, read by workers that entered.
  const Body* body_ = nullptr;
  int64_t count_ = 0;

  alignas(128) std::atomic<uint32_t> state_{0};
  alignas(128) std::atomic<int64_t> next_{0};
  alignas(128) std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::mutex sleep_mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

ThreadPool::Impl::Impl(int threads) {
  NPUMOE_CHECK(threads >= 0);
  if (threads == 0) threads = AvailableProcessors();
  threads = std::min(threads, kMaxThreads);
  try {
    workers_.reserve(static_cast<size_t>(threads - 1));
    for (int worker = 1; worker < threads; ++worker) {
      workers_.emplace_back([this, worker] { WorkerLoop(worker); });
    }
  } catch (const std::system_error&) {
    // The system allows no more threads: the ones that exist do the work.
  }
}

ThreadPool::Impl::~Impl() {
  {
    const std::lock_guard lock(sleep_mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Impl::WorkerLoop(int worker) {
  running_pool = this;
  uint32_t seen_epoch = 0;
  while (true) {
    WaitForRegion(seen_epoch);
    if (stop_) return;
    if (!Enter(seen_epoch)) continue;
    TakeIndices(worker);
    Leave();
  }
}

bool ThreadPool::Impl::IsFresh(uint32_t seen_epoch) const {
  const uint32_t state = state_.load();
  return ((state & kOpen) != 0 && EpochOf(state) != seen_epoch) || stop_.load();
}

void ThreadPool::Impl::WaitForRegion(uint32_t seen_epoch) {
  if (Spin([&] { return IsFresh(seen_epoch); })) return;
  std::unique_lock lock(sleep_mutex_);
  // Raised before state_ is read, and read by the caller after it wrote state_ (both
  // sequentially consistent): one of the two sees the other.
  ++sleepers_;
  wake_.wait(lock, [&] { return IsFresh(seen_epoch); });
  --sleepers_;
}

bool ThreadPool::Impl::Enter(uint32_t& seen_epoch) {
  uint32_t state = state_.load();
  while ((state & kOpen) != 0) {
    if (state_.compare_exchange_weak(state, state + 1)) {
      seen_epoch = EpochOf(state);
      return true;
    }
  }
  return false;
}

void ThreadPool::Impl::Leave() {
  const uint32_t before = state_.fetch_sub(1);
  const bool last = (before & kEnteredMask) == 1;
  if (last && (before & kOpen) == 0) state_.notify_all();
}

void ThreadPool::Impl::TakeIndices(int worker) {
  while (true) {
    const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    (*body_)(index, worker);
  }
}

void ThreadPool::Impl::OpenRegion(int64_t count, const Body& body) {
  body_ = &body;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  state_.store((state_.load() + kEpochStep) | kOpen);
  if (sleepers_.load() == 0) return;
  const std::lock_guard lock(sleep_mutex_);  // a sleeper between its check and its wait
  if (count > static_cast<int64_t>(workers_.size())) {
    wake_.notify_all();
  } else {
    for (int64_t i = 1; i < count; ++i) wake_.notify_one();
  }
}

void ThreadPool::Impl::CloseRegion() {
  state_.fetch_and(~kOpen);
  const auto idle = [&] { return (state_.load() & kEnteredMask) == 0; };
  if (Spin(idle)) return;
  for (uint32_t state = state_.load(); (state & kEnteredMask) != 0; state = state_.load()) {
    state_.wait(state);
  }
}

void ThreadPool::Impl::Run(int64_t count, const Body& body) {
  NPUMOE_CHECK(running_pool != this);
  if (count <= 0) return;
  const std::lock_guard turn(call_mutex_);
  const void* const outer_pool = running_pool;
  running_pool = this;
  if (count == 1 || workers_.empty()) {
    for (int64_t index = 0; index < count; ++index) body(index, 0);
  } else {
    OpenRegion(count, body);
    TakeIndices(0);
    CloseRegion();
  }
  running_pool = outer_pool;
}

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>(threads)) {}
ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const { return impl_->threads(); }

void ThreadPool::ParallelFor(int64_t count, const Body& body) { impl_->Run(count, body); }

void ThreadPool::ParallelRanges(int64_t count, int64_t quantum,
                                const std::function<void(int64_t, int64_t, int)>& body) {
  NPUMOE_CHECK(quantum >= 1);
  if (count <= 0) return;
  const int64_t pieces = int64_t{threads()} * 4;
  const int64_t length = RoundUp(DivideRoundUp(count, pieces), quantum);
  ParallelFor(DivideRoundUp(count, length), [&](int64_t piece, int worker) {
    const int64_t begin = piece * length;
    body(begin, std::min(begin + length, count), worker);
  });
}

}  // namespace npumoe
