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
  EXPECT_EQ(agreement->decisions, 4);
  EXPECT_EQ(agreement->different, 3);
  EXPECT_EQ(agreement->token_differs, (std::vector<bool>{true, true}));
}

TEST(RoutingAgreement, TakesNoNoteOfTheOrder) {
  const auto agreement = CompareRouting(Trace({0, 1}, {2, 3}), Trace({1, 0}, {3, 2}));
  ASSERT_TRUE(agreement.ok()) << agreement.status().message();
  EXPECT_EQ(agreement->different, 0);
}

TEST(RoutingAgreement, CountsAJumpOfAWeightAsADecision) {
  RoutingTrace reference = Trace({0, 1, 2, 3}, {0, 1, 2, 3});
  for (LayerRouting& layer : reference.layers) layer.weights = {1, 0.5f, 1, 0.5f};
  RoutingTrace candidate = reference;
  candidate.layers[0].weights[1] = 0.501f;  // fp16
  candidate.layers[0].weights[3] = 1;       // another expert is masked
  const auto agreement = CompareRouting(reference, candidate);
  ASSERT_TRUE(agreement.ok()) << agreement.status().message();
  EXPECT_EQ(agreement->different, 1);
  EXPECT_EQ(agreement->token_differs, (std::vector<bool>{false, true}));
}

TEST(RoutingAgreement, LeavesTokensThatDifferOutOfTheMeanKl) {
  ComparisonResult comparison;
  comparison.row_kl = {0.25, 7, 0.75};
  RoutingAgreement agreement;
  agreement.token_differs = {false, true, false};
  EXPECT_DOUBLE_EQ(MeanKlOfSameRouting(comparison, agreement), 0.5);
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
