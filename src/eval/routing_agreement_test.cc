#include "eval/routing_agreement.h"

#include <gtest/gtest.h>

namespace npumoe {
namespace {

// Two layers of four experts, two per token.
RoutingTrace Trace(std::vector<int32_t> first, std::vector<int32_t> second) {
  RoutingTrace trace;
  trace.num_experts = 4;
  trace.experts_per_token = 2;
  trace.sequence_starts = {0};
  trace.layers = {{0, std::move(first), {}}, {3, std::move(second), {}}};
  return trace;
}

TEST(RoutingAgreement, CountsTokensAndLayersWithOtherExperts) {
  const auto agreement = CompareRouting(Trace({0, 1, 2, 3}, {0, 1, 1, 2}),  //
                                        Trace({0, 1, 2, 1}, {0, 2, 1, 3}));
  ASSERT_TRUE(agreement.ok()) << agreement.status().message();
  EXPECT_EQ(*agreement, (RoutingAgreement{4, 3}));
}

TEST(RoutingAgreement, TakesNoNoteOfTheOrder) {
  const auto agreement = CompareRouting(Trace({0, 1}, {2, 3}), Trace({1, 0}, {3, 2}));
  ASSERT_TRUE(agreement.ok()) << agreement.status().message();
  EXPECT_EQ(*agreement, (RoutingAgreement{2, 0}));
}

TEST(RoutingAgreement, RefusesTracesOfDifferentLengthsWithBothNumbers) {
  const auto agreement = CompareRouting(Trace({0, 1}, {2, 3}), Trace({0, 1, 0, 1}, {2, 3, 2, 3}));
  EXPECT_NE(agreement.status().message().find("of 1 and 2 tokens"), std::string::npos);
}

TEST(RoutingAgreement, RefusesTracesOfOtherLayers) {
  RoutingTrace other = Trace({0, 1}, {2, 3});
  other.layers[1].layer = 2;
  EXPECT_FALSE(CompareRouting(Trace({0, 1}, {2, 3}), other).ok());
}

}  // namespace
}  // namespace npumoe
