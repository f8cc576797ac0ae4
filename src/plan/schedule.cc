#include "plan/schedule.h"

#include "base/check.h"

namespace npumoe {

Schedule::Schedule(int num_chunks, int num_layers, int chunks_in_flight)
    : num_chunks_(num_chunks), num_layers_(num_layers), chunks_in_flight_(chunks_in_flight) {
  NPUMOE_CHECK(num_chunks >= 0 && num_layers >= 0 && chunks_in_flight >= 1);
  chunks_.resize(static_cast<size_t>(num_chunks));
}

// The chunk before has written its keys and values of this layer once its routing is done, which
// comes after the attention program's launch where there is one.
bool Schedule::MayEnter(int chunk) const {
  if (chunk == 0) return true;
  const int layer = chunks_[static_cast<size_t>(chunk)].layer;
  const ChunkState& before = chunks_[static_cast<size_t>(chunk) - 1];
  return before.layer > layer || (before.layer == layer && before.next > Stage::kRouting);
}

void Schedule::Finished(const Step& step) {
  NPUMOE_CHECK(step.chunk >= 0 && step.chunk < num_chunks_);
  ChunkState& state = chunks_[static_cast<size_t>(step.chunk)];
  NPUMOE_CHECK(state.layer == step.layer && state.next == step.stage);
  switch (step.stage) {
    case Stage::kAttention:
      state.next = Stage::kRouting;
      break;
    case Stage::kRouting:
      state.next = Stage::kCpuExperts;
      break;
    case Stage::kCpuExperts:
      state.next = Stage::kCombine;
      break;
    case Stage::kCombine:
      state.next = Stage::kAttention;
      ++state.layer;
      break;
  }
}

}  // namespace npumoe
