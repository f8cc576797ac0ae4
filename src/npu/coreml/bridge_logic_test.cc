// The small pieces between Core ML and the engine: errors, placement, strides, records.
#include <gtest/gtest.h>

#include "graph/testing/package_files.h"
#include "graph/testing/sample_graphs.h"
#include "npu/coreml/bridge_failure.h"
#include "npu/coreml/pending.h"
#include "npu/coreml/placement.h"
#include "npu/coreml/strided_rows.h"
#include "npu/coreml/verified_record.h"

namespace npumoe::coreml_device {
namespace {

TEST(BridgeFailure, GivesSystemErrorsTheirMeaning) {
  const auto code = [](const Failure& failure, Step step) {
    return StatusOf(failure, step).code();
  };
  EXPECT_EQ(code({"com.apple.CoreML", 0, "?"}, Step::kLoad), StatusCode::kUnsupported);
  EXPECT_EQ(code({"com.apple.CoreML", 0, "?"}, Step::kPredict), StatusCode::kIo);
  EXPECT_EQ(code({"com.apple.CoreML", 1, "?"}, Step::kPredict), StatusCode::kInvalidInput);
  EXPECT_EQ(code({"com.apple.CoreML", 11, "?"}, Step::kPredict), StatusCode::kCancelled);
  EXPECT_EQ(code({"NSCocoaErrorDomain", 640, "?"}, Step::kCompile), StatusCode::kResourceExhausted);
  EXPECT_EQ(code({"NSCocoaErrorDomain", 4099, "?"}, Step::kPredict), StatusCode::kDeviceLost);
  EXPECT_EQ(code({"NSPOSIXErrorDomain", 2, "?"}, Step::kLoad), StatusCode::kNotFound);
  EXPECT_EQ(code({"NSException", 0, "?"}, Step::kPlan), StatusCode::kUnsupported);
}

TEST(BridgeFailure, KnowsTheDriversCodesInsideMessages) {
  const Status many = StatusOf({"com.apple.CoreML", 0, "ANE load failed: 0x50004"}, Step::kLoad);
  EXPECT_EQ(many.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(many.message(),
            "too-many-programs: load: ANE load failed: 0x50004 (com.apple.CoreML 0)");
}

TEST(BridgeFailure, RetriesOnlyWhatMayChange) {
  EXPECT_TRUE(IsWorthARetry(Unsupported("")));
  EXPECT_TRUE(IsWorthARetry(IoError("")));
  EXPECT_FALSE(IsWorthARetry(ResourceExhausted("")));
  EXPECT_FALSE(IsWorthARetry({StatusCode::kDeadlineExceeded, ""}));
  EXPECT_FALSE(IsWorthARetry({StatusCode::kCancelled, ""}));
}

TEST(Placement, CountsWhatThePlanPlaces) {
  const Placement placement =
      PlacementOf({{"const", "w", {}, {}, 0},
                   {"ios18.conv", "up", ComputeUnit::kNeuralEngine, {}, 0.5},
                   {"ios18.topk", "t", ComputeUnit::kCpu, {ComputeUnit::kCpu}, 0.5}});
  EXPECT_EQ(placement.operations, 2);
  EXPECT_EQ(placement.elsewhere, (std::vector<Placement::Elsewhere>{{"t", "topk", "CPU", false}}));
  EXPECT_TRUE(CheckPlacement(placement, CpuProducts::kRefused).ok());
  EXPECT_EQ(ReportOf(placement)->elsewhere, "topk 't' on the CPU");
}

TEST(Placement, TellsWhatIsPossibleFromWhatIsNot) {
  const auto message = [](std::vector<ComputeUnit> supported) {
    const Placement placement =
        PlacementOf({{"ios18.matmul", "m", ComputeUnit::kGpu, std::move(supported), 0}});
    return CheckPlacement(placement, CpuProducts::kRefused).message();
  };
  EXPECT_NE(message({ComputeUnit::kNeuralEngine})
                .find("matmul 'm' on the GPU, by choice; plan "
                      "larger groups"),
            std::string::npos);
  EXPECT_NE(message({}).find("matmul 'm' on the GPU; plan another form"), std::string::npos);
}

ArrayLayout Layout(std::vector<int64_t> shape, std::vector<int64_t> strides) {
  return {DType::kF16, std::move(shape), std::move(strides)};
}

TEST(StridedRows, KnowsWhatLiesWithoutGaps) {
  EXPECT_TRUE(IsDense(Layout({2, 3}, {3, 1})));
  EXPECT_TRUE(IsDense(Layout({1, 3}, {100, 1})));
  EXPECT_TRUE(IsDense(Layout({}, {})));
  EXPECT_FALSE(IsDense(Layout({2, 3}, {4, 1})));
  EXPECT_FALSE(IsDense(Layout({2, 3}, {1, 2})));
}

TEST(StridedRows, CopiesEveryElementThereAndBack) {
  for (const ArrayLayout& layout :
       {Layout({2, 3, 4}, {24, 8, 1}), Layout({2, 3, 4}, {12, 4, 1}), Layout({2, 3, 4}, {1, 2, 6}),
        Layout({2, 3, 4}, {100, 30, 5}), Layout({1, 1, 1}, {9, 9, 9}), Layout({}, {})}) {
    std::vector<uint16_t> dense(static_cast<size_t>(ElementsOf(layout))), back(dense.size());
    for (size_t i = 0; i < dense.size(); ++i) dense[i] = static_cast<uint16_t>(i + 1);
    std::vector<uint16_t> array(200, 0);
    CopyToStrided(std::as_bytes(std::span(dense)), layout,
                  reinterpret_cast<std::byte*>(array.data()));
    CopyFromStrided(layout, reinterpret_cast<const std::byte*>(array.data()),
                    std::as_writable_bytes(std::span(back)));
    EXPECT_EQ(back, dense);
    EXPECT_EQ(std::count(array.begin(), array.end(), 0), 200 - static_cast<int>(dense.size()));
    if (dense.size() != 24) continue;
    const auto at = layout.strides[0] + 2 * layout.strides[1] + 3 * layout.strides[2];
    EXPECT_EQ(array[static_cast<size_t>(at)], dense[23]);
  }
}

TEST(StridedRows, RefusesWhatIsNotTheWantedArray) {
  const TensorSpec wanted{"x", DType::kF16, Shape{2, 3}};
  const auto check = [&](const ArrayLayout& layout, size_t bytes) {
    return CheckLayout(layout, wanted, bytes, "x").code();
  };
  EXPECT_EQ(check(Layout({2, 3}, {3, 1}), 12), StatusCode::kOk);
  EXPECT_EQ(check(Layout({2, 3}, {3, 1}), 11), StatusCode::kInvalidInput);
  EXPECT_EQ(check(Layout({2, 3}, {8, 1}), 22), StatusCode::kOk);
  EXPECT_EQ(check(Layout({2, 3}, {8, 1}), 20), StatusCode::kInvalidInput);
  EXPECT_EQ(check(Layout({3, 2}, {2, 1}), 12), StatusCode::kInvalidInput);
  EXPECT_EQ(check(Layout({2, 3}, {3}), 12), StatusCode::kInvalidInput);
  EXPECT_EQ(check(Layout({2, 3}, {-3, 1}), 12), StatusCode::kInvalidInput);
  EXPECT_EQ(check({DType::kF32, {2, 3}, {3, 1}}, 24), StatusCode::kInvalidInput);
}

TEST(VerifiedRecord, KeepsFunctionsOfThisChipAndBuild) {
  const testing::ScratchFolder folder;
  const HostFacts host{"Apple M4", "15.5", "24F74", {}};
  Placement placement;
  placement.operations = 3;
  placement.elsewhere = {{"a \"name\"", "conv", "CPU", true}};
  ASSERT_TRUE(AddVerified(folder.path(), host, "main", placement).ok());
  ASSERT_TRUE(AddVerified(folder.path(), host, "c16", Placement{5, {}, ""}).ok());
  const VerifiedFunctions found = ReadVerified(folder.path(), host);
  EXPECT_EQ(found, (VerifiedFunctions{{"main", placement}, {"c16", Placement{5, {}, ""}}}));
  EXPECT_TRUE(ReadVerified(folder.path(), {"Apple M1", "15.5", "24F74", {}}).empty());
  EXPECT_TRUE(ReadVerified(folder.path(), {"Apple M4", "15.6", "24G90", {}}).empty());
}

TEST(VerifiedRecord, CountsDeathsAndNotOrderlyEnds) {
  const testing::ScratchFolder folder;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(LoadAttempt::Begin(folder.path(), "main").ok());
  const auto mark = LoadAttempt::MarkOf(folder.path(), "main");
  {
    const auto attempt = LoadAttempt::Begin(folder.path(), "main");
    EXPECT_EQ(testing::ReadBytes(mark), "1");
    EXPECT_TRUE(LoadAttempt::Begin(folder.path(), "main").ok());  // at the same time: not counted
    EXPECT_EQ(testing::ReadBytes(mark), "1");
  }
  testing::WriteBytes(mark, "2");
  EXPECT_EQ(LoadAttempt::Begin(folder.path(), "main").status().code(), StatusCode::kUnsupported);
  EXPECT_TRUE(LoadAttempt::Begin(folder.path(), "other").ok());
  EXPECT_EQ(testing::ReadBytes(mark), "2");
}

TEST(Pending, KeepsTheFirstAnswerAndDropsLateOnes) {
  Pending<int> answered;
  answered.receiver()(1);
  answered.receiver()(2);
  EXPECT_EQ(answered.Wait(0), 1);
  Pending<std::shared_ptr<int>> late;
  EXPECT_FALSE(late.Wait(0).has_value());
  const auto answer = std::make_shared<int>(3);
  late.receiver()(answer);
  EXPECT_EQ(answer.use_count(), 1);
}

}  // namespace
}  // namespace npumoe::coreml_device
