// Writing and reading packages: nothing is lost, equal input gives equal bytes, and a package that
// stands under its name is whole.
#include "graph/mlpackage.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "graph/testing/graph_equality.h"
#include "graph/testing/package_files.h"
#include "graph/testing/sample_graphs.h"

namespace npumoe {
namespace {

using testing::AllFiles;
using testing::Difference;
using testing::EveryOperation;
using testing::ExpertGraph;
using testing::ScratchFolder;

namespace fs = std::filesystem;

const PackageMetadata kMetadata = {"experts of layer 3", {{"form", "C"}, {"layer", "3"}}};

std::vector<Graph> Buckets() {
  return {ExpertGraph(GraphForm::kDenseChains, {24, 16}, {16, 32}, "rows_32"),
          ExpertGraph(GraphForm::kDenseChains, {24, 16}, {32, 64}, "rows_64"),
          ExpertGraph(GraphForm::kDenseChains, {24, 16}, {64, 128}, "rows_128")};
}

void ExpectRoundTrip(const std::vector<Graph>& functions) {
  const ScratchFolder folder;
  const Status written = WriteMlpackage(folder / "p.mlpackage", functions, kMetadata);
  ASSERT_TRUE(written.ok()) << written.message();
  const Result<Mlpackage> read = ReadMlpackage(folder / "p.mlpackage");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->functions.size(), functions.size());
  for (size_t i = 0; i < functions.size(); ++i) {
    EXPECT_EQ(Difference(functions[i], read->functions[i]), "");
  }
  EXPECT_EQ(read->metadata.description, kMetadata.description);
  EXPECT_EQ(read->metadata.user, kMetadata.user);
}

// A graph whose third weight cannot be made.
Graph GraphThatFailsMidway() {
  Graph graph = ExpertGraph(GraphForm::kDenseChains, {24, 16}, {16, 16});
  std::get<WeightData>(graph.constants.at("w_gate_10").value).produce = [](std::span<std::byte>) {
    return Status(StatusCode::kNumeric, "beyond the range of fp16");
  };
  return graph;
}

// Files of this process end at `bytes` while this lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST(Mlpackage, KeepsEveryOperationOfTheBuilder) { ExpectRoundTrip({EveryOperation()}); }

TEST(Mlpackage, KeepsAGroupedConvolution) {
  ExpectRoundTrip({ExpertGraph(GraphForm::kGroupedConv, {17, 11}, {7, 7, 7})});
}

TEST(Mlpackage, KeepsABatchedMatmul) {
  ExpectRoundTrip({ExpertGraph(GraphForm::kBatchedMatmul, {17, 11}, {7, 7})});
}

TEST(Mlpackage, KeepsDenseChainsOfUnequalCapacities) {
  ExpectRoundTrip({ExpertGraph(GraphForm::kDenseChains, {17, 11}, {7, 1, 300})});
}

TEST(Mlpackage, KeepsSeveralFunctionsInTheirOrder) { ExpectRoundTrip(Buckets()); }

TEST(Mlpackage, KeepsASingleFunctionOfAnotherName) {
  ExpectRoundTrip({ExpertGraph(GraphForm::kGroupedConv, {8, 8}, {4, 4}, "rows_4")});
}

TEST(Mlpackage, StoresWeightsOfSeveralFunctionsOnce) {
  const ScratchFolder folder;
  const std::vector<Graph> one = {Buckets().front()};
  ASSERT_TRUE(WriteMlpackage(folder / "one.mlpackage", one, {}).ok());
  ASSERT_TRUE(WriteMlpackage(folder / "three.mlpackage", Buckets(), {}).ok());
  EXPECT_EQ(testing::ReadBytes(testing::WeightFile(folder / "one.mlpackage")),
            testing::ReadBytes(testing::WeightFile(folder / "three.mlpackage")));
}

TEST(Mlpackage, GivesEqualBytesForEqualInput) {
  const ScratchFolder folder;
  ASSERT_TRUE(WriteMlpackage(folder / "a.mlpackage", Buckets(), kMetadata).ok());
  ASSERT_TRUE(WriteMlpackage(folder / "b.mlpackage", Buckets(), kMetadata).ok());
  EXPECT_EQ(AllFiles(folder / "a.mlpackage"), AllFiles(folder / "b.mlpackage"));
}

TEST(Mlpackage, GivesEqualBytesWhenWrittenAgainFromWhatWasRead) {
  const ScratchFolder folder;
  ASSERT_TRUE(WriteMlpackage(folder / "a.mlpackage", Buckets(), kMetadata).ok());
  const Result<Mlpackage> read = ReadMlpackage(folder / "a.mlpackage");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_TRUE(WriteMlpackage(folder / "b.mlpackage", read->functions, read->metadata).ok());
  EXPECT_EQ(AllFiles(folder / "a.mlpackage"), AllFiles(folder / "b.mlpackage"));
}

TEST(Mlpackage, FindsAFunctionByNameAndListsThemOtherwise) {
  const ScratchFolder folder;
  ASSERT_TRUE(WriteMlpackage(folder / "p.mlpackage", Buckets(), {}).ok());
  const Result<Mlpackage> read = ReadMlpackage(folder / "p.mlpackage");
  ASSERT_TRUE(read.ok());
  const Result<const Graph*> found = read->Function("rows_64");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ((*found)->name, "rows_64");
  const Result<const Graph*> missing = read->Function("rows_5");
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(missing.status().message().find("rows_32, rows_64, rows_128"), std::string::npos);
}

TEST(Mlpackage, ReportsTheSizeOfTheWeightFile) {
  const ScratchFolder folder;
  ASSERT_TRUE(WriteMlpackage(folder / "p.mlpackage", Buckets(), {}).ok());
  const Result<Mlpackage> read = ReadMlpackage(folder / "p.mlpackage");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(static_cast<uintmax_t>(read->weight_file_bytes),
            fs::file_size(testing::WeightFile(folder / "p.mlpackage")));
}

TEST(Mlpackage, LeavesNothingBehindWhenAWeightCannotBeProduced) {
  const ScratchFolder folder;
  const Status written =
      WriteMlpackage(folder / "p.mlpackage", std::vector{GraphThatFailsMidway()}, {});
  EXPECT_EQ(written.code(), StatusCode::kNumeric);
  EXPECT_NE(written.message().find("'w_gate_10': beyond the range of fp16"), std::string::npos)
      << written.message();
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Mlpackage, KeepsTheOldPackageWhenTheNewOneFails) {
  const ScratchFolder folder;
  ASSERT_TRUE(WriteMlpackage(folder / "p.mlpackage", Buckets(), kMetadata).ok());
  const auto before = AllFiles(folder.path());
  EXPECT_FALSE(
      WriteMlpackage(folder / "p.mlpackage", std::vector{GraphThatFailsMidway()}, {}).ok());
  EXPECT_EQ(AllFiles(folder.path()), before);
}

TEST(Mlpackage, ReplacesAPackageOfTheSameName) {
  const ScratchFolder folder;
  ASSERT_TRUE(WriteMlpackage(folder / "p.mlpackage", Buckets(), {}).ok());
  ASSERT_TRUE(WriteMlpackage(folder / "p.mlpackage", std::vector{EveryOperation()}, {}).ok());
  const Result<Mlpackage> read = ReadMlpackage(folder / "p.mlpackage");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->functions.front().name, "main");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(Mlpackage, AcceptsATrailingSlash) {
  const ScratchFolder folder;
  ASSERT_TRUE(WriteMlpackage(folder / "p.mlpackage/", Buckets(), {}).ok());
  EXPECT_TRUE(ReadMlpackage(folder / "p.mlpackage/").ok());
}

TEST(Mlpackage, NamesTheFileWhenNoSpaceIsLeft) {
  const ScratchFolder folder;
  const std::vector<Graph> large = {ExpertGraph(GraphForm::kGroupedConv, {256, 256}, {4, 4})};
  Status written;
  {
    const FileSizeLimit limit(size_t{200} << 10);
    written = WriteMlpackage(folder / "p.mlpackage", large, {});
  }
  EXPECT_EQ(written.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(written.message().find("weight.bin: cannot write"), std::string::npos)
      << written.message();
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Mlpackage, AsksForTheFolderThatIsMissing) {
  const ScratchFolder folder;
  const Status written = WriteMlpackage(folder / "absent" / "p.mlpackage", Buckets(), {});
  EXPECT_EQ(written.code(), StatusCode::kNotFound);
  EXPECT_NE(written.message().find("create the folder first"), std::string::npos);
}

TEST(Mlpackage, LeavesAFileOfTheSameNameAlone) {
  const ScratchFolder folder;
  testing::WriteBytes(folder / "p.mlpackage", "a letter");
  EXPECT_EQ(WriteMlpackage(folder / "p.mlpackage", Buckets(), {}).code(), StatusCode::kIo);
  EXPECT_EQ(testing::ReadBytes(folder / "p.mlpackage"), "a letter");
}

TEST(Mlpackage, RefusesTwoFunctionsOfOneName) {
  const ScratchFolder folder;
  const std::vector<Graph> twice = {Buckets()[0], Buckets()[0]};
  const Status written = WriteMlpackage(folder / "p.mlpackage", twice, {});
  EXPECT_EQ(written.code(), StatusCode::kInvalidInput);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Mlpackage, RefusesAGraphWhoseShapesDoNotAgree) {
  const ScratchFolder folder;
  Graph graph = EveryOperation();
  graph.operations.back().outputs.front().shape = Shape{7};
  const Status written = WriteMlpackage(folder / "p.mlpackage", std::vector{graph}, {});
  EXPECT_EQ(written.code(), StatusCode::kInvalidInput);
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace npumoe
