// What the emulator refuses: the limits of the profile, and packages that are damaged.
#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include "npu/emulator/emulator_testing.h"

namespace npumoe::emulator {
namespace {

using npumoe::testing::ExpertGraph;
using npumoe::testing::ScratchFolder;

Graph SmallGraph(const std::string& name = "main") {
  return ExpertGraph(GraphForm::kDenseChains, {32, 16}, {16, 32}, name);
}

class EmulatorLimits : public ::testing::Test {
 protected:
  // The refusal of Load, after checking that Supports gives the same one.
  Status Refusal(const ChipProfile& profile, const std::filesystem::path& package,
                 const std::string& function = "main") {
    const auto device = MakeTestDevice(pool_, profile);
    const Status loaded = device->Load(package, function).status();
    const Status supported = device->Supports(package, function);
    EXPECT_EQ(loaded.code(), supported.code());
    EXPECT_EQ(loaded.message(), supported.message());
    return loaded;
  }
  void ExpectWords(const Status& status, StatusCode code, const std::string& words) {
    EXPECT_EQ(status.code(), code) << status.message();
    EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
  }

  ScratchFolder folder_;
  ThreadPool pool_{1};
};

TEST_F(EmulatorLimits, AcceptWhatTheProfileAllows) {
  EXPECT_TRUE(Refusal(TestProfile(), WritePackage(folder_, {SmallGraph()})).ok());
}

TEST_F(EmulatorLimits, RefuseAProgramBeyondTheCountAndNameTheLimit) {
  ChipProfile profile = TestProfile();
  profile.limits.max_programs = 2;
  const auto device = MakeTestDevice(pool_, profile);
  const auto package = WritePackage(folder_, {SmallGraph()});
  auto first = device->Load(package, "main");
  const auto second = device->Load(package, "main");
  ASSERT_TRUE(first.ok() && second.ok());
  ExpectWords(device->Load(package, "main").status(), StatusCode::kResourceExhausted,
              "2 programs are loaded; profile m2-max allows 2");
  ExpectWords(device->Supports(package, "main"), StatusCode::kResourceExhausted, "2 programs");
  first.value().reset();  // unloads
  EXPECT_TRUE(device->Load(package, "main").ok());
}

TEST_F(EmulatorLimits, CountProgramsRightWhenManyThreadsLoad) {
  ChipProfile profile = TestProfile();
  profile.limits.max_programs = 5;
  const auto device = MakeTestDevice(pool_, profile);
  const auto package = WritePackage(folder_, {SmallGraph()});
  std::vector<std::vector<std::unique_ptr<Program>>> loaded(4);
  std::vector<std::thread> threads;
  for (auto& own : loaded) {
    threads.emplace_back([&] {
      for (int i = 0; i < 4; ++i) {
        auto program = device->Load(package, "main");
        if (program.ok()) own.push_back(*std::move(program));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  size_t programs = 0;
  for (const auto& own : loaded) programs += own.size();
  EXPECT_EQ(programs, 5u);
}

TEST_F(EmulatorLimits, GiveThePlaceOfAFailedLoadBack) {
  ChipProfile profile = TestProfile();
  profile.limits.max_programs = 1;
  const auto device = MakeTestDevice(pool_, profile);
  const auto package = WritePackage(folder_, {SmallGraph()});
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(device->Load(package, "other").ok());
  EXPECT_TRUE(device->Load(package, "main").ok());
}

TEST_F(EmulatorLimits, RefuseAProgramOfTooManyBytes) {
  ChipProfile profile = TestProfile();
  const Graph graph = SmallGraph();
  profile.limits.max_program_bytes = graph.WeightBytes() - 1;
  ExpectWords(Refusal(profile, WritePackage(folder_, {graph})), StatusCode::kResourceExhausted,
              std::to_string(graph.WeightBytes()) + " bytes of weights; profile m2-max allows");
  profile.limits.max_program_bytes = graph.WeightBytes();
  EXPECT_TRUE(Refusal(profile, folder_ / "p.mlpackage").ok());
}

TEST_F(EmulatorLimits, RefuseAWeightFileOfTooManyBytes) {
  ChipProfile profile = TestProfile();
  profile.limits.max_weight_file_bytes = 1000;
  ExpectWords(Refusal(profile, WritePackage(folder_, {SmallGraph()})),
              StatusCode::kResourceExhausted, "weight-file-too-large");
}

TEST_F(EmulatorLimits, RefuseAnAxisBeyondTheLimitWithTheRule) {
  ChipProfile profile = TestProfile();
  profile.limits.max_axis = 31;
  ExpectWords(Refusal(profile, WritePackage(folder_, {SmallGraph()})), StatusCode::kUnsupported,
              "axis");
}

TEST_F(EmulatorLimits, RefuseARankBeyondTheLimit) {
  ChipProfile profile = TestProfile();
  profile.limits.max_rank = 3;
  ExpectWords(Refusal(profile, WritePackage(folder_, {SmallGraph()})), StatusCode::kUnsupported,
              "rank");
}

TEST_F(EmulatorLimits, RefuseAnOperationOfTheProfilesList) {
  ChipProfile profile = TestProfile();
  profile.limits.refused_ops.push_back("silu");
  ExpectWords(Refusal(profile, WritePackage(folder_, {SmallGraph()})), StatusCode::kUnsupported,
              "silu");
}

TEST_F(EmulatorLimits, NameTheFunctionThatIsNotInThePackage) {
  ExpectWords(Refusal(TestProfile(), WritePackage(folder_, {SmallGraph("rows_32")}), "rows_64"),
              StatusCode::kNotFound, "rows_64");
}

TEST_F(EmulatorLimits, RefuseAPackageThatIsNotThere) {
  EXPECT_FALSE(Refusal(TestProfile(), folder_ / "absent.mlpackage").ok());
}

// Files of a package, the longest path first named; damages are made to a copy of one of them.
class DamagedPackage : public EmulatorLimits {
 protected:
  std::vector<std::filesystem::path> Files(const std::filesystem::path& package) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(package)) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    return files;
  }
  static std::string Contents(const std::filesystem::path& file) {
    std::ostringstream text;
    text << std::ifstream(file, std::ios::binary).rdbuf();
    return text.str();
  }
  static void Write(const std::filesystem::path& file, const std::string& contents) {
    std::ofstream(file, std::ios::binary) << contents;
  }
};

TEST_F(DamagedPackage, IsRefusedWhenAnyFileIsMissingOrCutShort) {
  const auto package = WritePackage(folder_, {SmallGraph()});
  const auto device = MakeTestDevice(pool_);
  ASSERT_GE(Files(package).size(), 3u);
  for (const auto& file : Files(package)) {
    const std::string contents = Contents(file);
    for (size_t keep : {size_t{0}, contents.size() / 2, contents.size() - 2}) {
      Write(file, contents.substr(0, keep));
      EXPECT_FALSE(device->Load(package, "main").ok()) << file << " " << keep;
    }
    std::filesystem::remove(file);
    EXPECT_FALSE(device->Load(package, "main").ok()) << file;
    Write(file, contents);
  }
  EXPECT_TRUE(device->Load(package, "main").ok());
}

TEST_F(DamagedPackage, NeverCrashesTheDeviceWhateverByteIsWrong) {
  const auto package = WritePackage(folder_, {SmallGraph()});
  const auto device = MakeTestDevice(pool_);
  int refused = 0;
  for (const auto& file : Files(package)) {
    const bool weights = file.filename() == "weight.bin";  // covered by a hash
    const std::string contents = Contents(file);
    for (size_t at = 0; at < contents.size(); at += 11) {
      std::string damaged = contents;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
      Write(file, damaged);
      auto program = device->Load(package, "main");
      if (!program.ok()) {
        ++refused;
        continue;
      }
      EXPECT_FALSE(weights) << at;
      // Still a valid program, under another name or with another parameter: it must run.
      Bound bound(*std::move(program));
      EXPECT_TRUE(device->Wait(*bound.Submit(*device), kLongMs).ok()) << file << " " << at;
    }
    Write(file, contents);
  }
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace npumoe::emulator
