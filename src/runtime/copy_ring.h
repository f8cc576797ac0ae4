// The CPU's copies of dispatch, to be timed: a chunk whose tokens choose experts at random, and
// more buffers of launches than caches hold, so that each is written and read from memory when its
// turn is there, as after a launch.
#pragma once

#include <vector>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "kernels/dispatch/dispatch.h"
#include "npu/profile_fit.h"

namespace npumoe {

// With bytes as the cost model counts them (plan/cost_model.h).
struct CopyTimes {
  TimedWork gather;   // into the inputs of launches
  TimedWork combine;  // their outputs: looked through for NaN, then combined
  TimedWork rows;     // gather and combine of the CPU's experts
};

class CopyRing {
 public:
  // At least two chunks' buffers, about `memory_bytes`. Throws std::bad_alloc.
  CopyRing(int64_t hidden, int64_t memory_bytes);

  CopyTimes Works() const;  // without times
  double GatherMs(ThreadPool& pool);
  double CombineMs(ThreadPool& pool);
  double RowsMs(ThreadPool& pool);

 private:
  struct Chunk {
    AlignedBuffer<uint16_t> halves;               // of launches: [hidden, rows] of each expert
    AlignedBuffer<float> rows;                    // of the CPU's experts: [assignments, hidden]
    std::vector<OutputRow> columns, row_outputs;  // by assignment
  };
  Chunk& Next();
  std::vector<OutputRow> Columns(const uint16_t* halves) const;
  std::vector<OutputRow> RowsOf(const float* rows) const;
  bool AreOutputsFinite(const Chunk& chunk, ThreadPool& pool) const;
  Matrix Tokens();

  int64_t hidden_;
  ExpertLists lists_;
  std::vector<float> weights_;
  AlignedBuffer<float> tokens_;
  std::vector<Chunk> chunks_;
  size_t next_ = 0;
};

}  // namespace npumoe
