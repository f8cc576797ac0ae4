#include "runtime/copy_ring.h"

#include <algorithm>
#include <atomic>
#include <random>

#include "base/check.h"
#include "base/clock.h"
#include "plan/cost_model.h"
#include "runtime/loaded_function.h"

namespace npumoe {
namespace {

constexpr int kChoices = 8;    // of a token, Qwen3-30B-A3B
constexpr int kExperts = 128;  // that they choose from
constexpr int64_t kTokens = 512;
constexpr int64_t kAssignments = kTokens * kChoices;

TimedWork Work(const char* what, double bytes_per_element, int64_t hidden) {
  TimedWork work;
  work.what = what;
  work.io_bytes = bytes_per_element * static_cast<double>(kAssignments * hidden);
  return work;
}

}  // namespace

CopyRing::CopyRing(int64_t hidden, int64_t memory_bytes)
    : hidden_(hidden),
      weights_(kAssignments, 0.125f),
      tokens_(static_cast<size_t>(kTokens * hidden)) {
  std::mt19937 random(2);
  std::vector<int32_t> ids(kAssignments);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % kExperts);
  BuildExpertLists(ids, kChoices, kExperts, lists_);
  std::ranges::fill(tokens_.span(), 0.5f);
  const auto bytes = static_cast<int64_t>(sizeof(uint16_t) + sizeof(float)) * kAssignments * hidden;
  chunks_.resize(static_cast<size_t>(std::max<int64_t>(2, memory_bytes / bytes)));
  for (Chunk& chunk : chunks_) {
    chunk.halves.Resize(static_cast<size_t>(kAssignments * hidden));
    chunk.rows.Resize(static_cast<size_t>(kAssignments * hidden));
    chunk.columns = Columns(chunk.halves.data());
    chunk.row_outputs = RowsOf(chunk.rows.data());
  }
}

CopyTimes CopyRing::Works() const {
  return {Work("gather for the NPU", kGatherBytes, hidden_),
          Work("check and combine from the NPU", kCombineBytes, hidden_),
          Work("gather and combine on the CPU", kCpuExpertMoveBytes, hidden_)};
}

CopyRing::Chunk& CopyRing::Next() {
  next_ = (next_ + 1) % chunks_.size();
  return chunks_[next_];
}

Matrix CopyRing::Tokens() { return {tokens_.data(), kTokens, hidden_, hidden_}; }

double CopyRing::GatherMs(ThreadPool& pool) {
  Chunk& chunk = Next();
  Stopwatch watch;
  for (int e = 0; e < kExperts; ++e) {
    const auto list = lists_.Of(e);
    if (list.empty()) continue;
    GatherTransposedF16(Tokens(), list, kChoices, static_cast<int64_t>(list.size()),
                        chunk.halves.data() + lists_.offsets[static_cast<size_t>(e)] * hidden_,
                        pool);
  }
  return watch.ElapsedMs();
}

double CopyRing::CombineMs(ThreadPool& pool) {
  const Chunk& chunk = Next();
  Stopwatch watch;
  NPUMOE_CHECK(AreOutputsFinite(chunk, pool));
  CombineRows(chunk.columns, weights_, kChoices, Tokens(), pool);
  return watch.ElapsedMs();
}

double CopyRing::RowsMs(ThreadPool& pool) {
  Chunk& chunk = Next();
  const Matrix rows{chunk.rows.data(), kAssignments, hidden_, hidden_};
  Stopwatch watch;
  GatherRows(Tokens(), lists_.assignments, kChoices, rows, pool);
  CombineRows(chunk.row_outputs, weights_, kChoices, Tokens(), pool);
  return watch.ElapsedMs();
}

// Channel by channel, as outputs with padding behind the rows are looked at.
bool CopyRing::AreOutputsFinite(const Chunk& chunk, ThreadPool& pool) const {
  std::atomic<bool> finite = true;
  pool.ParallelFor(kExperts, [&](int64_t expert, int) {
    const auto rows = static_cast<int64_t>(lists_.Of(static_cast<int>(expert)).size());
    const uint16_t* values =
        chunk.halves.data() + lists_.offsets[static_cast<size_t>(expert)] * hidden_;
    for (int64_t channel = 0; channel < hidden_; ++channel) {
      if (!AreFinite(values + channel * rows, rows)) finite = false;
    }
  });
  return finite;
}

std::vector<OutputRow> CopyRing::Columns(const uint16_t* halves) const {
  std::vector<OutputRow> outputs(kAssignments);
  for (int e = 0; e < kExperts; ++e) {
    const auto list = lists_.Of(e);
    const uint16_t* first = halves + lists_.offsets[static_cast<size_t>(e)] * hidden_;
    for (size_t r = 0; r < list.size(); ++r) {
      outputs[static_cast<size_t>(list[r])] = {first + r, static_cast<int64_t>(list.size()),
                                               OutputRow::Layout::kF16Column};
    }
  }
  return outputs;
}

std::vector<OutputRow> CopyRing::RowsOf(const float* rows) const {
  std::vector<OutputRow> outputs(kAssignments);
  for (size_t i = 0; i < lists_.assignments.size(); ++i) {
    outputs[static_cast<size_t>(lists_.assignments[i])] = {rows + static_cast<int64_t>(i) * hidden_,
                                                           1, OutputRow::Layout::kF32Row};
  }
  return outputs;
}

}  // namespace npumoe
