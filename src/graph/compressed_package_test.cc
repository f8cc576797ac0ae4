// Packages with compressed weights: every form in every format comes back, buckets share weights,
// and damaged or foreign packages are refused.
#include <gtest/gtest.h>

#include <filesystem>

#include "graph/mlpackage.h"
#include "graph/testing/graph_equality.h"
#include "graph/testing/package_files.h"
#include "graph/testing/random_matrices.h"

namespace npumoe {
namespace {

using testing::Difference;
using testing::EncodedExpertGraph;
using testing::ScratchFolder;

namespace fs = std::filesystem;

constexpr testing::ExpertSizes kSizes{64, 32};

class CompressedPackage : public ::testing::TestWithParam<std::tuple<GraphForm, WeightFormat>> {
 protected:
  Graph MakeGraph(const std::vector<int64_t>& capacities, const std::string& name = "main") const {
    return EncodedExpertGraph(std::get<0>(GetParam()), std::get<1>(GetParam()), kSizes, capacities,
                              name);
  }
};

TEST_P(CompressedPackage, ComesBackAsItWasWritten) {
  const ScratchFolder folder;
  const Graph graph = MakeGraph({16, 16});
  const Status written = WriteMlpackage(folder / "p.mlpackage", std::vector{graph}, {});
  ASSERT_TRUE(written.ok()) << written.message();
  const Result<Mlpackage> read = ReadMlpackage(folder / "p.mlpackage");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(Difference(graph, read->functions.front()), "");
}

TEST_P(CompressedPackage, HasTheBytesOfItsFormat) {
  const Graph graph = MakeGraph({16, 16});
  const WeightFormat format = std::get<1>(GetParam());
  const int64_t expert = 2 * WeightBytes(format, kSizes.intermediate, kSizes.hidden) +
                         WeightBytes(format, kSizes.hidden, kSizes.intermediate);
  EXPECT_EQ(graph.WeightBytes(), 2 * expert);
}

// The functions are built from encoders of their own, so that nothing but the bytes is equal.
TEST_P(CompressedPackage, StoresTheWeightsOfSeveralBucketsOnce) {
  const ScratchFolder folder;
  const std::vector<Graph> one = {MakeGraph({16, 16}, "rows_16")};
  const std::vector<Graph> three = {one.front(), MakeGraph({32, 32}, "rows_32"),
                                    MakeGraph({64, 64}, "rows_64")};
  ASSERT_TRUE(WriteMlpackage(folder / "one.mlpackage", one, {}).ok());
  ASSERT_TRUE(WriteMlpackage(folder / "three.mlpackage", three, {}).ok());
  EXPECT_EQ(testing::ReadBytes(testing::WeightFile(folder / "one.mlpackage")),
            testing::ReadBytes(testing::WeightFile(folder / "three.mlpackage")));
}

TEST_P(CompressedPackage, GivesEqualBytesWhenWrittenAgainFromWhatWasRead) {
  const ScratchFolder folder;
  ASSERT_TRUE(WriteMlpackage(folder / "a.mlpackage", std::vector{MakeGraph({16, 16})}, {}).ok());
  const Result<Mlpackage> read = ReadMlpackage(folder / "a.mlpackage");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_TRUE(WriteMlpackage(folder / "b.mlpackage", read->functions, {}).ok());
  EXPECT_EQ(testing::AllFiles(folder / "a.mlpackage"), testing::AllFiles(folder / "b.mlpackage"));
}

std::string NameOf(const ::testing::TestParamInfo<std::tuple<GraphForm, WeightFormat>>& test) {
  std::string name = std::string(Name(std::get<0>(test.param))) + Name(std::get<1>(test.param));
  std::erase(name, '-');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, CompressedPackage,
                         ::testing::Combine(::testing::Values(GraphForm::kGroupedConv,
                                                              GraphForm::kBatchedMatmul,
                                                              GraphForm::kDenseChains),
                                            ::testing::ValuesIn(testing::kAllFormats)),
                         NameOf);

TEST(CompressedPackages, KeepMatricesThatEndWithinAByte) {
  const ScratchFolder folder;
  const Graph graph =
      EncodedExpertGraph(GraphForm::kDenseChains, WeightFormat::kLut6, {7, 3}, {4, 4});
  ASSERT_TRUE(WriteMlpackage(folder / "p.mlpackage", std::vector{graph}, {}).ok());
  const Result<Mlpackage> read = ReadMlpackage(folder / "p.mlpackage");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(Difference(graph, read->functions.front()), "");
}

// Functions that share an encoder share its result: the second one asks for nothing.
TEST(CompressedPackages, EncodeSharedWeightsOnce) {
  const ScratchFolder folder;
  std::vector<ExpertSlot> slots = testing::EncodedSlots(WeightFormat::kLut4, kSizes, {16});
  auto calls = std::make_shared<int>(0);
  const auto produce = slots[0].up.values.produce;
  slots[0].up.values.produce = [calls, produce](std::span<std::byte> bytes) {
    ++*calls;
    return produce(bytes);
  };
  std::vector<Graph> functions;
  for (const int64_t capacity : {16, 32, 64}) {
    slots[0].capacity = capacity;
    functions.push_back(*BuildExpertGraph(GraphForm::kDenseChains,
                                          {kSizes.hidden, kSizes.intermediate}, slots,
                                          "rows_" + std::to_string(capacity)));
  }
  ASSERT_TRUE(WriteMlpackage(folder / "p.mlpackage", functions, {}).ok());
  EXPECT_EQ(*calls, 1);
}

class HostileCompressedPackage : public ::testing::Test {
 protected:
  HostileCompressedPackage() {
    const std::vector<Graph> graphs = {
        EncodedExpertGraph(GraphForm::kDenseChains, WeightFormat::kInt4Block32, {64, 32}, {3})};
    NPUMOE_CHECK(WriteMlpackage(package_, graphs, {}).ok());
  }

  coreml::OperationMessage& Scaled(coreml::Model& model) const {
    return testing::FirstOf(testing::MainBlock(model), "constexpr_blockwise_shift_scale");
  }
  static coreml::Value* Part(coreml::OperationMessage& operation, const std::string& parameter) {
    return (*operation.mutable_inputs())[parameter].mutable_bindings(0)->mutable_value();
  }

  void ExpectRefused(const std::string& expected) const {
    const Result<Mlpackage> read = ReadMlpackage(package_);
    ASSERT_FALSE(read.ok());
    EXPECT_NE(read.status().message().find(expected), std::string::npos) << read.status().message();
  }

  const ScratchFolder folder_;
  const fs::path package_ = folder_ / "p.mlpackage";
};

TEST_F(HostileCompressedPackage, SurvivesDamageAnywhereInTheModel) {
  const std::string original = testing::ReadBytes(testing::ModelFile(package_));
  int refused = 0;
  for (size_t at = 0; at < original.size(); at += 2) {
    for (const char change : {'\x01', '\x80', '\xff'}) {
      std::string damaged = original;
      damaged[at] = static_cast<char>(damaged[at] ^ change);
      testing::WriteBytes(testing::ModelFile(package_), damaged);
      refused += ReadMlpackage(package_).ok() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 0);
}

TEST_F(HostileCompressedPackage, RefusesIntegersDeclaredWithAnotherWidth) {
  testing::EditModel(package_, [&](coreml::Model& model) {
    Part(Scaled(model), "data")
        ->mutable_type()
        ->mutable_tensor()
        ->set_element(coreml::ELEMENT_UINT4);
  });
  ExpectRefused("is declared U4; the blob has the element type 8");
}

TEST_F(HostileCompressedPackage, RefusesAScaleThatLiesInTheIntegers) {
  testing::EditModel(package_, [&](coreml::Model& model) {
    const auto offset = Part(Scaled(model), "data")->blob().offset();
    Part(Scaled(model), "scale")->mutable_blob()->set_offset(offset);
  });
  ExpectRefused("is declared F16; the blob has the element type 8");
}

TEST_F(HostileCompressedPackage, RefusesAMissingScale) {
  testing::EditModel(package_,
                     [&](coreml::Model& model) { Scaled(model).mutable_inputs()->erase("scale"); });
  ExpectRefused("parameter 'scale' is missing");
}

TEST_F(HostileCompressedPackage, RefusesAValueInPlaceOfAnyOtherOperation) {
  testing::EditModel(package_, [&](coreml::Model& model) {
    coreml::OperationMessage& silu = testing::FirstOf(testing::MainBlock(model), "silu");
    *(*silu.mutable_inputs())["x"].mutable_bindings(0) =
        Scaled(model).inputs().at("scale").bindings(0);
  });
  ExpectRefused("a value bound in place");
}

TEST_F(HostileCompressedPackage, RefusesAScaleThatIsComputed) {
  testing::EditModel(package_, [&](coreml::Model& model) {
    (*Scaled(model).mutable_inputs())["scale"].mutable_bindings(0)->set_name("x_3");
  });
  ExpectRefused("it must be a constant tensor that stands in the package");
}

TEST_F(HostileCompressedPackage, RefusesBitsThatTheBlobCallsUnused) {
  testing::EditModel(package_, [](coreml::Model& model) {  // then the hash is not asked
    model.mutable_description()->mutable_metadata()->mutable_user()->erase(kWeightsHashKey);
  });
  std::string weights = testing::ReadBytes(testing::WeightFile(package_));
  weights[64 + 24] = 4;  // the first blob's header: int4, an even number of them
  testing::WriteBytes(testing::WeightFile(package_), weights);
  ExpectRefused("leaves 0 bits unused; the blob says 4");
}

// Values in place have no names of their own; those that we make give way to those of the package.
TEST_F(HostileCompressedPackage, FindsOtherNamesWhereItsOwnAreTaken) {
  testing::EditModel(package_, [&](coreml::Model& model) {
    coreml::Block& block = testing::MainBlock(model);
    for (coreml::OperationMessage& operation : *block.mutable_operations()) {
      for (coreml::NamedDeclaration& output : *operation.mutable_outputs()) {
        if (output.name() == "gate_silu_3") output.set_name("w_gate_3_scale");
      }
      for (auto& [parameter, argument] : *operation.mutable_inputs()) {
        for (coreml::Binding& binding : *argument.mutable_bindings()) {
          if (binding.name() == "gate_silu_3") binding.set_name("w_gate_3_scale");
        }
      }
    }
  });
  const Result<Mlpackage> read = ReadMlpackage(package_);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_TRUE(read->functions.front().constants.contains("w_gate_3_scale_"));
}

}  // namespace
}  // namespace npumoe
