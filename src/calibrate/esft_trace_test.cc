#include "calibrate/esft_trace.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace npumoe {
namespace {

namespace fs = std::filesystem;

const fs::path kSample = NPUMOE_SOURCE_DIR "/tests/data/routing/esft-intent-head";

class EsftFolder : public testing::Test {
 protected:
  void SetUp() override {
    const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / "npumoe_esft" / test->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void Write(int layer, const std::string& text) {
    std::ofstream(folder_ / ("expert_weights_" + std::to_string(layer) + ".txt")) << text;
  }
  void ExpectRefused(const std::string& words) {
    const Status status = ReadEsftTrace(folder_, 4, 2).status();
    EXPECT_FALSE(status.ok());
    EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
  }
  fs::path folder_;
};

TEST(EsftTrace, ReadsPublishedRecords) {
  const Result<RoutingTrace> trace = ReadEsftTrace(kSample, 64, 6);
  ASSERT_TRUE(trace.ok()) << trace.status().message();
  EXPECT_EQ(trace->layers.size(), 2u);
  EXPECT_EQ(trace->sequence_starts, (std::vector<int64_t>{0, 64, 127}));
  EXPECT_EQ(trace->tokens(), 190);
  EXPECT_EQ(trace->layers[0].ids[1], 26);
}

TEST_F(EsftFolder, OrdersLayersByNumber) {
  Write(10, "0\t1\t\t0.5\t0.25\n");
  Write(2, "3\t2\t\t0.5\t0.25\n");
  const Result<RoutingTrace> trace = ReadEsftTrace(folder_, 4, 2);
  ASSERT_TRUE(trace.ok()) << trace.status().message();
  EXPECT_EQ(trace->layers[0].layer, 2);
  EXPECT_EQ(trace->layers[1].weights, (std::vector<float>{0.5f, 0.25f}));
}

TEST_F(EsftFolder, IsRefusedWhenEmpty) { ExpectRefused("no file"); }

TEST_F(EsftFolder, IsRefusedWithoutTheEmptyField) {
  Write(1, "0\t1\t0.5\t0.25\n");
  ExpectRefused("expert_weights_1.txt:1: found 4 fields");
}

TEST_F(EsftFolder, IsRefusedWithAnIdThatIsNoNumber) {
  Write(1, "0\t1\t\t0.5\t0.25\nx\t1\t\t0.5\t0.5\n");
  ExpectRefused("expert_weights_1.txt:2: field 1 is no expert id");
}

TEST_F(EsftFolder, IsRefusedWithAWeightThatIsNotFinite) {
  Write(1, "0\t1\t\t0.5\tnan\n");
  ExpectRefused("field 5 is no weight");
}

TEST_F(EsftFolder, IsRefusedWithHalfAToken) {
  Write(1, "0\t1\t2\t\t0.5\t0.25\t0.1\n");
  ExpectRefused("no multiple of 2");
}

TEST_F(EsftFolder, IsRefusedWhenLayersHaveOtherSequences) {
  Write(1, "0\t1\t\t0.5\t0.25\n0\t1\t\t0.5\t0.25\n");
  Write(2, "0\t1\t2\t3\t\t0.5\t0.25\t0.5\t0.25\n");
  ExpectRefused("differ from those of layer 1");
}

TEST(EsftTrace, RefusesAFolderThatIsNotThere) {
  EXPECT_EQ(ReadEsftTrace("/nonexistent/esft", 64, 6).status().code(), StatusCode::kIo);
}

}  // namespace
}  // namespace npumoe
