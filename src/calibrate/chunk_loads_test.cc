#include <gtest/gtest.h>

#include <numeric>

#include "calibrate/calibration.h"
#include "calibrate/test_traces.h"

namespace npumoe {
namespace {

// Loads of tokens [begin, end) of one layer, counted directly.
std::vector<int32_t> CountTokens(const RoutingTrace& trace, size_t layer, int64_t begin,
                                 int64_t end) {
  std::vector<int32_t> loads(static_cast<size_t>(trace.num_experts));
  for (int64_t i = begin * trace.experts_per_token; i < end * trace.experts_per_token; ++i) {
    ++loads[static_cast<size_t>(trace.layers[layer].ids[static_cast<size_t>(i)])];
  }
  return loads;
}

std::vector<int32_t> ChunkOf(const ChunkLoads& loads, size_t layer, int64_t chunk) {
  const auto begin = loads.layers[layer].begin() + chunk * loads.num_experts;
  return {begin, begin + loads.num_experts};
}

ChunkLoads MustLoad(const Calibration& calibration, int chunk,
                    SequenceBorders borders = SequenceBorders::kKeep) {
  Result<ChunkLoads> loads = LoadsPerChunk(calibration, chunk, borders);
  EXPECT_TRUE(loads.ok()) << loads.status().message();
  return std::move(loads).value();
}

TEST(ChunkLoads, AreTheTracesOwnCountsInsideSequences) {
  const RoutingTrace trace = MakeRandomTrace({});  // sequences of 70, 32 and 100 tokens
  const ChunkLoads loads = MustLoad(*CalibrationFromTrace(trace), 64);
  EXPECT_FALSE(loads.joined);
  ASSERT_EQ(loads.chunks, 2);  // 0..63 of the first, 0..63 of the third
  for (size_t layer : {0u, 1u}) {
    EXPECT_EQ(ChunkOf(loads, layer, 0), CountTokens(trace, layer, 0, 64));
    EXPECT_EQ(ChunkOf(loads, layer, 1), CountTokens(trace, layer, 102, 166));
  }
}

TEST(ChunkLoads, OfOneBlockNeverSpanABorder) {
  const RoutingTrace trace = MakeRandomTrace({});
  const ChunkLoads loads = MustLoad(*CalibrationFromTrace(trace), 32);
  ASSERT_EQ(loads.chunks, 2 + 1 + 3);
  EXPECT_EQ(ChunkOf(loads, 0, 2), CountTokens(trace, 0, 70, 102));
}

TEST(ChunkLoads, JoinTheStreamWhenNoSequenceIsLongEnough) {
  const RoutingTrace trace = MakeRandomTrace({});
  const ChunkLoads loads = MustLoad(*CalibrationFromTrace(trace), 128);
  EXPECT_TRUE(loads.joined);
  ASSERT_EQ(loads.chunks, 1);
  const std::vector<int32_t> chunk = ChunkOf(loads, 0, 0);
  EXPECT_EQ(std::accumulate(chunk.begin(), chunk.end(), 0), 128 * 2);
}

TEST(ChunkLoads, OfAJoinedStreamAreExactWhereBordersFallOnBlocks) {
  const RoutingTrace trace = MakeRandomTrace({.sequence_tokens = {32, 64, 32, 96}});
  const ChunkLoads loads = MustLoad(*CalibrationFromTrace(trace), 64, SequenceBorders::kIgnore);
  EXPECT_TRUE(loads.joined);
  ASSERT_EQ(loads.chunks, 3);
  for (int64_t c = 0; c < 3; ++c) {
    EXPECT_EQ(ChunkOf(loads, 1, c), CountTokens(trace, 1, c * 64, c * 64 + 64)) << c;
  }
}

TEST(ChunkLoads, OfACutBlockStayWithinItsCountsAndOneOfTheProportion) {
  // 20 + 20 tokens: a chunk of 32 takes 12 of the second block's 20.
  const RoutingTrace trace = MakeRandomTrace({.sequence_tokens = {20, 20}});
  const ChunkLoads loads = MustLoad(*CalibrationFromTrace(trace), 32);
  const std::vector<int32_t> first = CountTokens(trace, 0, 0, 20);
  const std::vector<int32_t> second = CountTokens(trace, 0, 20, 40);
  const std::vector<int32_t> chunk = ChunkOf(loads, 0, 0);
  for (size_t e = 0; e < chunk.size(); ++e) {
    const int taken = chunk[e] - first[e];
    EXPECT_GE(taken, second[e] * 12 / 20) << e;
    EXPECT_LE(taken, second[e] * 12 / 20 + 1) << e;
    EXPECT_LE(taken, second[e]) << e;
  }
  EXPECT_EQ(std::accumulate(chunk.begin(), chunk.end(), 0), 64);
}

TEST(ChunkLoads, OfEveryMultipleAddUpToTokensTimesExperts) {
  const RoutingTrace trace = MakeRandomTrace({.sequence_tokens = {45, 7, 33, 64, 190, 1, 31}});
  const Calibration calibration = *CalibrationFromTrace(trace);
  for (int chunk = 32; chunk <= 352; chunk += 32) {
    for (SequenceBorders borders : {SequenceBorders::kKeep, SequenceBorders::kIgnore}) {
      const ChunkLoads loads = MustLoad(calibration, chunk, borders);
      for (int64_t c = 0; c < loads.chunks; ++c) {
        const std::vector<int32_t> values = ChunkOf(loads, 0, c);
        EXPECT_EQ(std::accumulate(values.begin(), values.end(), 0), chunk * 2) << chunk;
        EXPECT_LE(*std::max_element(values.begin(), values.end()), chunk);
      }
    }
  }
}

TEST(ChunkLoads, RefuseALengthThatIsNoMultipleOfTheBlock) {
  const Calibration calibration = *CalibrationFromTrace(MakeRandomTrace({}));
  for (int chunk : {0, -32, 31, 48}) {
    EXPECT_EQ(LoadsPerChunk(calibration, chunk).status().code(), StatusCode::kInvalidInput);
  }
}

TEST(ChunkLoads, RefuseAChunkLongerThanTheCalibration) {
  const Calibration calibration = *CalibrationFromTrace(MakeRandomTrace({}));
  const Status status = LoadsPerChunk(calibration, 256).status();
  EXPECT_NE(status.message().find("202 tokens, fewer than one chunk of 256"), std::string::npos)
      << status.message();
}

}  // namespace
}  // namespace npumoe
