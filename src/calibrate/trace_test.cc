#include "calibrate/trace.h"

#include <gtest/gtest.h>

#include "calibrate/test_traces.h"

namespace npumoe {
namespace {

TEST(RoutingTrace, OfRandomShapeIsValid) {
  const RoutingTrace trace = MakeRandomTrace({});
  EXPECT_TRUE(ValidateTrace(trace).ok()) << ValidateTrace(trace).message();
  EXPECT_EQ(trace.tokens(), 202);
}

TEST(RoutingTrace, GivesTheBordersOfItsSequences) {
  const RoutingTrace trace = MakeRandomTrace({});
  EXPECT_EQ(trace.Sequence(1), (std::pair<int64_t, int64_t>(70, 102)));
  EXPECT_EQ(trace.Sequence(2), (std::pair<int64_t, int64_t>(102, 202)));
}

void ExpectRefused(const RoutingTrace& trace, const std::string& words) {
  const Status status = ValidateTrace(trace);
  EXPECT_EQ(status.code(), StatusCode::kInvalidInput);
  EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
}

TEST(RoutingTrace, RefusesAnExpertBeyondTheCount) {
  RoutingTrace trace = MakeRandomTrace({});
  trace.layers[1].ids[7] = 8;
  ExpectRefused(trace, "layer 3, token 3: expert 8; allowed are 0 to 7");
}

TEST(RoutingTrace, RefusesANegativeExpert) {
  RoutingTrace trace = MakeRandomTrace({});
  trace.layers[0].ids[0] = -1;
  ExpectRefused(trace, "expert -1");
}

TEST(RoutingTrace, RefusesAnExpertChosenTwiceByOneToken) {
  RoutingTrace trace = MakeRandomTrace({});
  trace.layers[0].ids[1] = trace.layers[0].ids[0];
  ExpectRefused(trace, "chosen twice");
}

TEST(RoutingTrace, RefusesLayersOfDifferentLength) {
  RoutingTrace trace = MakeRandomTrace({});
  trace.layers[1].ids.resize(100);
  ExpectRefused(trace, "layer 3 has 100 ids");
}

TEST(RoutingTrace, RefusesLayersOutOfOrder) {
  RoutingTrace trace = MakeRandomTrace({});
  std::swap(trace.layers[0], trace.layers[1]);
  ExpectRefused(trace, "layer 1 after layer 3");
}

TEST(RoutingTrace, RefusesWeightsThatDoNotFitTheIds) {
  RoutingTrace trace = MakeRandomTrace({});
  trace.layers[0].weights.pop_back();
  ExpectRefused(trace, "weights for");
}

TEST(RoutingTrace, RefusesBordersThatDoNotAscend) {
  RoutingTrace trace = MakeRandomTrace({});
  trace.sequence_starts[2] = 70;
  ExpectRefused(trace, "sequence 2 starts at token 70");
}

TEST(RoutingTrace, RefusesABorderBehindTheLastToken) {
  RoutingTrace trace = MakeRandomTrace({});
  trace.sequence_starts[2] = 202;
  ExpectRefused(trace, "last sequence starts at token 202");
}

TEST(RoutingTrace, RefusesMoreExpertsPerTokenThanExperts) {
  RoutingTrace trace = MakeRandomTrace({});
  trace.experts_per_token = 9;
  ExpectRefused(trace, "9 experts per token");
}

}  // namespace
}  // namespace npumoe
