#include "convert/types.h"

#include <gtest/gtest.h>

#include "convert/report.h"
#include "convert/tensor_kinds.h"

namespace npumoe {
namespace {

constexpr TypePolicy Wanting(DType wanted) { return {TypeRule::kWanted, wanted}; }

TypedTensor Expert(DType type, int64_t row = 256) {
  return {TensorRole::kExpertDown, type, Shape({64, row})};
}

TypeChoice ChoiceOf(const TypePolicy& policy, const TypedTensor& tensor) {
  const auto choice = TargetType(policy, tensor);
  EXPECT_TRUE(choice.ok()) << choice.status().message();
  return choice.ok() ? *choice : TypeChoice{};
}

std::string ErrorOf(const TypePolicy& policy, const TypedTensor& tensor) {
  const auto choice = TargetType(policy, tensor);
  return choice.ok() ? "no error" : choice.status().message();
}

TEST(TargetType, FallsBackToShorterBlocksAndThenToF16) {
  const TypePolicy q4k = Wanting(DType::kQ4_K);
  EXPECT_EQ(ChoiceOf(q4k, Expert(DType::kF32, 256)).cause, TypeCause::kAsAsked);
  EXPECT_EQ(ChoiceOf(q4k, Expert(DType::kF32, 96)).type, DType::kQ4_0);
  const TypeChoice odd = ChoiceOf(q4k, Expert(DType::kF32, 40));
  EXPECT_EQ(odd.type, DType::kF16);
  EXPECT_EQ(odd.cause, TypeCause::kRows);
  EXPECT_EQ(odd.why, "its rows of 40 are no whole number of Q4_K blocks");
}

TEST(TargetType, KeepsEmbeddingAndHeadAtEightBitsAndSaysSo) {
  for (const TensorRole role : {TensorRole::kEmbedding, TensorRole::kLmHead}) {
    const TypeChoice four =
        ChoiceOf(Wanting(DType::kQ4_0), {role, DType::kBF16, Shape({512, 256})});
    EXPECT_EQ(four.type, DType::kQ8_0);
    EXPECT_EQ(four.cause, TypeCause::kCareful);
    EXPECT_EQ(four.why, "embedding and head are kept at 8 bits");
    const TypeChoice eight =
        ChoiceOf(Wanting(DType::kQ8_0), {role, DType::kBF16, Shape({512, 256})});
    EXPECT_EQ(eight.cause, TypeCause::kAsAsked);
  }
}

TEST(TargetType, MakesBlocksOfBlocksOnlyWhereThatIsAllowed) {
  TypePolicy policy = Wanting(DType::kQ4_0);
  const std::string error = ErrorOf(policy, Expert(DType::kQ8_0));
  EXPECT_NE(error.find("quantised already (Q8_0)"), error.npos) << error;
  EXPECT_NE(error.find("--requantize"), error.npos) << error;
  policy.requantize = Requantize::kAllow;
  EXPECT_EQ(ChoiceOf(policy, Expert(DType::kQ8_0)).type, DType::kQ4_0);
}

TEST(TargetType, AcceptsBlocksThatAreOfTheTargetTypeAlready) {
  EXPECT_EQ(ChoiceOf(Wanting(DType::kQ8_0), Expert(DType::kQ8_0)).cause, TypeCause::kAsAsked);
  EXPECT_EQ(ErrorOf(Wanting(DType::kQ4_K), Expert(DType::kQ4_0, 96)), "no error");
}

TEST(TargetType, LeavesTheMxfp4OfPublishedModels) {
  const TypeChoice choice = ChoiceOf(Wanting(DType::kQ8_0), Expert(DType::kMXFP4));
  EXPECT_EQ(choice.type, DType::kMXFP4);
  EXPECT_EQ(choice.cause, TypeCause::kQuantised);
}

TEST(TargetType, WidensBlocksInAFolderButNeverWhereAllIsToBeKept) {
  TypePolicy folder;
  folder.only_plain = true;
  const TypeChoice widened = ChoiceOf(folder, Expert(DType::kQ8_0));
  EXPECT_EQ(widened.type, DType::kBF16);
  EXPECT_EQ(widened.cause, TypeCause::kPlainFile);
  folder.rule = TypeRule::kKeep;
  EXPECT_NE(ErrorOf(folder, Expert(DType::kQ8_0)).find("safetensors cannot hold"),
            std::string::npos);
  TypedTensor gpt_oss = Expert(DType::kMXFP4);
  gpt_oss.may_be_mxfp4 = true;
  EXPECT_EQ(ChoiceOf(folder, gpt_oss).type, DType::kMXFP4);
}

TEST(TargetType, LeavesRoutersInF32) {
  const TypedTensor router = {TensorRole::kRouter, DType::kBF16, Shape({16, 256})};
  EXPECT_EQ(ChoiceOf(Wanting(DType::kQ4_0), router).type, DType::kF32);
}

TEST(IsLossy, KnowsWhichChangesRound) {
  EXPECT_FALSE(IsLossy(DType::kBF16, DType::kBF16));
  EXPECT_FALSE(IsLossy(DType::kQ4_K, DType::kF32));
  EXPECT_FALSE(IsLossy(DType::kMXFP4, DType::kBF16));
  EXPECT_TRUE(IsLossy(DType::kF32, DType::kBF16));
  EXPECT_TRUE(IsLossy(DType::kF16, DType::kBF16));
  EXPECT_TRUE(IsLossy(DType::kBF16, DType::kF16));
  EXPECT_TRUE(IsLossy(DType::kQ8_0, DType::kBF16));
  EXPECT_TRUE(IsLossy(DType::kMXFP4, DType::kF16));
}

TEST(ConvertReport, HasOneRowForAllTensorsOfAKind) {
  const TypePolicy policy = Wanting(DType::kQ4_K);
  ConvertReport report;
  for (int i = 0; i < 5; ++i) {
    const TypedTensor tensor = Expert(DType::kF32, 40);
    report.Count(policy, tensor, ChoiceOf(policy, tensor));
  }
  ASSERT_EQ(report.fallbacks.size(), 1u);
  EXPECT_EQ(report.fallbacks[0].weights, "experts down");
  EXPECT_EQ(report.fallbacks[0].tensors, 5);
  ASSERT_EQ(report.lossy.size(), 1u);
  EXPECT_EQ(report.lossy[0].tensors, 5);
}

TEST(KindOf, NamesEveryMatrix) {
  for (const TensorRole role : AllTensorRoles()) EXPECT_FALSE(KindOf(role).empty());
  EXPECT_EQ(KindOf(TensorRole::kEmbedding), "embedding");
  EXPECT_EQ(KindOf(TensorRole::kKeyValueUp), "attention kv_b");
  EXPECT_EQ(KindOf(TensorRole::kSinks), "norms and biases");
}

}  // namespace
}  // namespace npumoe
