// Schedule: a state machine that says what may start next in a prefill of several chunks, so that
// up to two chunks are in flight (wavefront, planning.md section 7): while one is on the NPU at
// layer l, the next one's CPU stages run; chunk i+1 may enter layer l once chunk i has written
// its keys and values there. The simulator drives it with a modelled clock, the run time with the
// real one.
#pragma once

#include <optional>
#include <vector>

namespace npumoe {

enum class Stage {
  kAttention,   // norm and attention on the CPU, or gather and submit of its program
  kRouting,     // after that launch: residual, K and V; router, gather, submit of the programs: CPU
  kCpuExperts,  // non-resident experts and overflow: CPU
  kCombine,     // after the launches are done: combine, residual: CPU
};

struct Step {
  int chunk = 0;
  int layer = 0;
  Stage stage = Stage::kAttention;
};

class Schedule {
 public:
  Schedule(int num_chunks, int num_layers, int chunks_in_flight);
  // The step that the CPU should do next: a routing step, which ends in launches, where there is
  // one, so that the NPU does not run dry, else the oldest chunk's. `launches_done(chunk)` tells
  // whether the chunk's launches have finished; when nothing may start, the step of the oldest
  // waiting chunk is returned, and the caller waits for its launches. None: everything is done.
  template <class LaunchesDone>
  std::optional<Step> Next(LaunchesDone launches_done);
  void Finished(const Step& step);

 private:
  struct ChunkState {
    int layer = 0;
    Stage next = Stage::kAttention;
  };
  bool MayEnter(int chunk) const;
  int num_chunks_;
  int num_layers_;
  int chunks_in_flight_;
  std::vector<ChunkState> chunks_;
};

template <class LaunchesDone>
std::optional<Step> Schedule::Next(LaunchesDone launches_done) {
  std::optional<Step> ready, blocked;
  for (int c = 0, active = 0; c < num_chunks_ && active < chunks_in_flight_; ++c) {
    const ChunkState& state = chunks_[static_cast<size_t>(c)];
    if (state.layer == num_layers_) continue;
    ++active;
    if (state.next == Stage::kAttention && !MayEnter(c)) continue;
    const Step step{c, state.layer, state.next};
    const bool waits = state.next == Stage::kRouting || state.next == Stage::kCombine;
    const bool may_start = !waits || launches_done(c);
    if (may_start && step.stage == Stage::kRouting) return step;
    std::optional<Step>& first = may_start ? ready : blocked;
    if (!first) first = step;
  }
  return ready ? ready : blocked;
}

}  // namespace npumoe
