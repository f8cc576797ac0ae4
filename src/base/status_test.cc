#include "base/status.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace npumoe {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return InvalidInput("odd");
  return value / 2;
}

Result<int> Quarter(int value) {
  NPUMOE_ASSIGN_OR_RETURN(const int half, Half(value));
  NPUMOE_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

Status CheckEven(int value) {
  NPUMOE_RETURN_IF_ERROR(Half(value).status());
  return OkStatus();
}

TEST(Status, IsOkByDefault) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().code(), StatusCode::kOk);
}

TEST(Status, PutsContextBeforeTheMessageOfAnError) {
  const Status status = NotFound("no such tensor").WithContext("model.safetensors");
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "model.safetensors: no such tensor");
}

TEST(Status, StaysOkWithContext) { EXPECT_TRUE(OkStatus().WithContext("anything").ok()); }

TEST(Status, NamesEveryCodeDifferently) {
  std::vector<std::string> names;
  for (int code = 0; code <= static_cast<int>(StatusCode::kCancelled); ++code) {
    names.emplace_back(Name(static_cast<StatusCode>(code)));
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
  EXPECT_FALSE(std::binary_search(names.begin(), names.end(), "unknown"));
}

TEST(Result, HandsValuesAndErrorsThroughNestedCalls) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Quarter(5).status().message(), "odd");
  EXPECT_EQ(Quarter(6).status().message(), "odd");
}

TEST(Result, ReturnsTheErrorOfACheckedExpression) {
  EXPECT_TRUE(CheckEven(4).ok());
  EXPECT_EQ(CheckEven(3).code(), StatusCode::kInvalidInput);
}

TEST(Result, MovesOutValuesThatCannotBeCopied) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(7));
  const std::unique_ptr<int> value = std::move(result).value();
  EXPECT_EQ(*value, 7);
}

TEST(ResultDeathTest, EndsTheProgramWhenAnErrorIsReadAsAValue) {
  const Result<int> result = InvalidInput("odd");
  EXPECT_DEATH(static_cast<void>(*result), "internal error: .*status.h:.*check failed");
}

TEST(ResultDeathTest, EndsTheProgramWhenOkIsGivenAsAnError) {
  EXPECT_DEATH(static_cast<void>(Result<int>{OkStatus()}), "check failed");
}

}  // namespace
}  // namespace npumoe
