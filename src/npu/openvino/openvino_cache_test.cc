// The cache of compiled programs on disk.
#include <filesystem>
#include <fstream>
#include <map>

#include "graph/testing/package_files.h"
#include "npu/openvino/openvino_testing.h"

namespace npumoe::openvino {
namespace {

namespace fs = std::filesystem;
using npumoe::testing::ExpertGraph;

constexpr npumoe::testing::ExpertSizes kSizes{64, 96};

class OpenvinoCache : public OpenvinoTest {
 protected:
  // What the library keeps, with the times of the last change: a program that is compiled again is
  // written again.
  std::map<std::string, fs::file_time_type> Blobs() const {
    std::map<std::string, fs::file_time_type> blobs;
    for (const auto& entry : fs::recursive_directory_iterator(cache_)) {
      if (entry.is_regular_file()) blobs[entry.path().string()] = entry.last_write_time();
    }
    return blobs;
  }
  // A new device, as a new process has it.
  std::vector<Floats> RunAnew(const Graph& graph) {
    return RunOn(*OpenCpu(pool_, cache_), graph, RandomInputs(graph, 3));
  }

  ScratchFolder folder_;
  const fs::path cache_ = folder_ / "made/when/needed";
  ThreadPool pool_{2};
};

TEST_F(OpenvinoCache, GivesTheSecondStartItsPrograms) {
  const Graph graph = ExpertGraph(GraphForm::kDenseChains, kSizes, {16, 32});
  const std::vector<Floats> first = RunAnew(graph);
  const auto blobs = Blobs();
  EXPECT_EQ(blobs.size(), 1u);
  EXPECT_EQ(RunAnew(graph), first);
  EXPECT_EQ(Blobs(), blobs);
}

TEST_F(OpenvinoCache, KeepsProgramsOfOtherShapesAndWeightsApart) {
  const Graph graph = ExpertGraph(GraphForm::kDenseChains, kSizes, {16});
  RunAnew(graph);
  RunAnew(ExpertGraph(GraphForm::kDenseChains, kSizes, {32}));
  EXPECT_EQ(Blobs().size(), 2u);
  // The same graph with other weights must not take the first one's program.
  auto slots = npumoe::testing::RandomSlots(kSizes, {16});
  slots[0].down = npumoe::testing::RandomHalves(99, 0.1f);
  const Graph other =
      *BuildExpertGraph(GraphForm::kDenseChains, {kSizes.hidden, kSizes.intermediate}, slots);
  const auto expected = emulator::RunUnlimited(other, RandomInputs(other, 3));
  ASSERT_TRUE(expected.ok());
  ExpectClose(RunAnew(other), *expected, 2e-3f);
  EXPECT_EQ(Blobs().size(), 3u);
}

TEST_F(OpenvinoCache, SurvivesDamage) {
  const Graph graph = ExpertGraph(GraphForm::kDenseChains, kSizes, {16});
  const std::vector<Floats> first = RunAnew(graph);
  const std::string path = Blobs().begin()->first;
  const std::string whole = npumoe::testing::ReadBytes(path);
  for (const size_t size : {size_t{0}, size_t{10}, whole.size() / 2}) {
    npumoe::testing::WriteBytes(path, whole.substr(0, size));
    EXPECT_EQ(RunAnew(graph), first) << "cut to " << size;
  }
}

TEST_F(OpenvinoCache, IsGoneWithoutWhereItCannotBe) {
  std::ofstream(folder_ / "made") << "a file, not a folder";
  const Graph graph = ExpertGraph(GraphForm::kDenseChains, kSizes, {16});
  EXPECT_EQ(RunAnew(graph).size(), 1u);
}

}  // namespace
}  // namespace npumoe::openvino
