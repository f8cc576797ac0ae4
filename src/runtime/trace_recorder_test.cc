#include "runtime/trace_recorder.h"

#include <gtest/gtest.h>

#include "runtime/recount.h"

namespace npumoe {
namespace {

ModelConfig TwoLayers() {
  ModelConfig config;
  config.num_layers = 3;
  config.is_moe_layer = {true, false, true};
  config.moe.num_experts = 4;
  config.moe.experts_per_token = 1;
  return config;
}

void Tell(TraceRecorder& recorder, int layer, int64_t position, std::vector<int32_t> ids) {
  const std::vector<float> weights(ids.size(), 1.0f);
  recorder.OnRouting({layer, position, static_cast<int64_t>(ids.size()), 1, ids, weights});
}

TEST(TraceRecorder, JoinsChunksOfASequence) {
  TraceRecorder recorder(TwoLayers());
  Tell(recorder, 0, 0, {0, 1});
  Tell(recorder, 0, 2, {2});  // the next chunk may enter layer 0 before the first has left
  Tell(recorder, 2, 0, {3, 3});
  Tell(recorder, 2, 2, {1});
  const RoutingTrace trace = recorder.Trace();
  ASSERT_TRUE(ValidateTrace(trace).ok());
  EXPECT_EQ(trace.layers[0].ids, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(trace.layers[1].ids, (std::vector<int32_t>{3, 3, 1}));
  EXPECT_EQ(trace.sequence_starts, (std::vector<int64_t>{0}));
}

TEST(TraceRecorder, StartsASequenceAtPositionZero) {
  TraceRecorder recorder(TwoLayers());
  for (int i = 0; i < 2; ++i) {
    Tell(recorder, 0, 0, {0, 1});
    Tell(recorder, 2, 0, {2, 3});
  }
  EXPECT_EQ(recorder.Trace().sequence_starts, (std::vector<int64_t>{0, 2}));
}

TEST(TraceRecorder, WhatIsToldAgainReplacesWhatCameBefore) {
  TraceRecorder recorder(TwoLayers());
  for (const int layer : {0, 2}) {
    Tell(recorder, layer, 0, {0, 1, 2});
    Tell(recorder, layer, 1, {3});  // after a rewind to 1
  }
  EXPECT_EQ(recorder.Trace().layers[0].ids, (std::vector<int32_t>{0, 3}));
}

TEST(TraceRecorder, CutsACancelledSequenceToItsShortestLayer) {
  TraceRecorder recorder(TwoLayers());
  Tell(recorder, 0, 0, {0, 1, 2});
  Tell(recorder, 2, 0, {3});
  const RoutingTrace trace = recorder.Trace();
  EXPECT_EQ(trace.tokens(), 1);
  EXPECT_TRUE(ValidateTrace(trace).ok());
}

Plan TinyPlan() {
  Plan plan;
  plan.num_experts = 4;
  plan.experts_per_token = 1;
  plan.layers = {{0, {{GraphForm::kDenseChains, {{0, 1}, {1, 1}}}}}, {2, {}}};
  return plan;
}

TEST(Recount, CountsChunksWhereTheyRan) {
  TraceRecorder recorder(TwoLayers());
  Tell(recorder, 0, 0, {0, 0, 1, 3, 0, 0});
  Tell(recorder, 2, 0, {0, 0, 0, 0, 0, 0});
  const std::vector<ChunkSpan> chunks{{0, 4, ChunkPlace::kNpu}, {4, 6, ChunkPlace::kCpu}};
  const auto counts =
      RecountDispatch(TinyPlan(), OverflowMode::kSpill, recorder.Trace(), 0, chunks);
  ASSERT_TRUE(counts.ok()) << counts.status().message();
  EXPECT_EQ(*counts, (DispatchCounts{.launches = 1,
                                     .capacity_rows = 2,
                                     .filled_rows = 2,
                                     .spilled_rows = 1,
                                     .dropped_rows = 0,
                                     .cpu_rows = 1 + 2 + 6}));
}

TEST(Recount, RefusesChunksBeyondTheSequence) {
  TraceRecorder recorder(TwoLayers());
  Tell(recorder, 0, 0, {0});
  Tell(recorder, 2, 0, {0});
  const std::vector<ChunkSpan> chunks{{0, 2, ChunkPlace::kNpu}};
  EXPECT_FALSE(RecountDispatch(TinyPlan(), OverflowMode::kSpill, recorder.Trace(), 0, chunks).ok());
}

}  // namespace
}  // namespace npumoe
