// Packages that are damaged, foreign or made to do harm: every one is an error that says what and
// where, or a graph that passes all checks; never a crash.
#include <gtest/gtest.h>

#include <functional>

#include "graph/graph_check.h"
#include "graph/mlpackage.h"
#include "graph/testing/package_files.h"
#include "graph/testing/sample_graphs.h"

namespace npumoe {
namespace {

using testing::EditModel;
using testing::FirstOf;
using testing::MainBlock;
using testing::ScratchFolder;

namespace fs = std::filesystem;

class HostileMlpackage : public ::testing::Test {
 protected:
  HostileMlpackage() {
    const std::vector<Graph> graphs = {
        testing::ExpertGraph(GraphForm::kDenseChains, {12, 10}, {3, 4})};
    NPUMOE_CHECK(WriteMlpackage(package_, graphs, {}).ok());
  }

  // Reads the package as it is now; returns the error, which must contain `expected`.
  void ExpectRefused(StatusCode code, const std::string& expected) const {
    const Result<Mlpackage> read = ReadMlpackage(package_);
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.status().code(), code) << read.status().message();
    EXPECT_NE(read.status().message().find(expected), std::string::npos) << read.status().message();
    EXPECT_NE(read.status().message().find("p.mlpackage"), std::string::npos)
        << read.status().message();
  }

  // One file with one change after another: each read ends well.
  void ExpectNoCrash(const fs::path& file, size_t step,
                     const std::function<void(std::string&, size_t)>& damage) {
    const std::string original = testing::ReadBytes(file);
    int refused = 0;
    for (size_t at = 0; at < original.size(); at += step) {
      std::string damaged = original;
      damage(damaged, at);
      testing::WriteBytes(file, damaged);
      const Result<Mlpackage> read = ReadMlpackage(package_);
      refused += read.ok() ? 0 : 1;
      if (read.ok()) {
        for (const Graph& graph : read->functions) EXPECT_TRUE(CheckGraph(graph).ok());
      } else {
        EXPECT_FALSE(read.status().message().empty());
      }
    }
    EXPECT_GT(refused, 0);
  }

  const ScratchFolder folder_;
  const fs::path package_ = folder_ / "p.mlpackage";
};

void FlipBit(std::string& bytes, size_t at) {
  bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
}
void SetToFF(std::string& bytes, size_t at) { bytes[at] = static_cast<char>(0xff); }
void CutAt(std::string& bytes, size_t at) { bytes.resize(at); }
void RemoveByte(std::string& bytes, size_t at) { bytes.erase(at, 1); }

// Steps are small primes, so that every field of a repeated record is met.
TEST_F(HostileMlpackage, SurvivesFlippedBitsInTheModel) {
  ExpectNoCrash(testing::ModelFile(package_), 3, FlipBit);
}
TEST_F(HostileMlpackage, SurvivesLargeNumbersInTheModel) {
  ExpectNoCrash(testing::ModelFile(package_), 3, SetToFF);
}
TEST_F(HostileMlpackage, SurvivesATruncatedModel) {
  ExpectNoCrash(testing::ModelFile(package_), 7, CutAt);
}
TEST_F(HostileMlpackage, SurvivesMissingBytesInTheModel) {
  ExpectNoCrash(testing::ModelFile(package_), 7, RemoveByte);
}
TEST_F(HostileMlpackage, SurvivesFlippedBitsInTheManifest) {
  ExpectNoCrash(testing::ManifestFile(package_), 1, FlipBit);
}
TEST_F(HostileMlpackage, SurvivesATruncatedManifest) {
  ExpectNoCrash(testing::ManifestFile(package_), 1, CutAt);
}
TEST_F(HostileMlpackage, SurvivesFlippedBitsInTheWeights) {
  ExpectNoCrash(testing::WeightFile(package_), 5, FlipBit);
}
TEST_F(HostileMlpackage, SurvivesLargeNumbersInTheWeights) {
  ExpectNoCrash(testing::WeightFile(package_), 5, SetToFF);
}
TEST_F(HostileMlpackage, SurvivesTruncatedWeights) {
  ExpectNoCrash(testing::WeightFile(package_), 5, CutAt);
}

// Including the reserved bytes and the padding: a damaged file is not to be trusted anywhere.
TEST_F(HostileMlpackage, RefusesEveryFlippedByteOfTheWeights) {
  const std::string original = testing::ReadBytes(testing::WeightFile(package_));
  for (size_t at = 0; at < original.size(); ++at) {
    std::string damaged = original;
    FlipBit(damaged, at);
    testing::WriteBytes(testing::WeightFile(package_), damaged);
    EXPECT_FALSE(ReadMlpackage(package_).ok()) << at;
  }
}

TEST_F(HostileMlpackage, SaysThatDamagedWeightsAreToBeCompiledAgain) {
  std::string bytes = testing::ReadBytes(testing::WeightFile(package_));
  FlipBit(bytes, 128);  // the first number of the first weight
  testing::WriteBytes(testing::WeightFile(package_), bytes);
  ExpectRefused(StatusCode::kInvalidInput, "it is damaged; compile it again");
}

TEST_F(HostileMlpackage, ReadsAPackageOfAnotherWriterWithoutAHash) {
  EditModel(package_, [](coreml::Model& model) {
    model.mutable_description()->mutable_metadata()->mutable_user()->erase(kWeightsHashKey);
  });
  std::string bytes = testing::ReadBytes(testing::WeightFile(package_));
  FlipBit(bytes, 128);
  testing::WriteBytes(testing::WeightFile(package_), bytes);
  EXPECT_TRUE(ReadMlpackage(package_).ok());
}

TEST_F(HostileMlpackage, RefusesAFolderThatIsNoPackage) {
  fs::remove(testing::ManifestFile(package_));
  ExpectRefused(StatusCode::kNotFound, "Manifest.json: no such file");
}

TEST_F(HostileMlpackage, RefusesAMissingPackage) {
  fs::remove_all(package_);
  ExpectRefused(StatusCode::kNotFound, "is not a model package");
}

TEST_F(HostileMlpackage, RefusesAnEmptyModel) {
  testing::WriteBytes(testing::ModelFile(package_), "");
  ExpectRefused(StatusCode::kInvalidInput, "0 bytes are not a Core ML model");
}

TEST_F(HostileMlpackage, RefusesAMissingModel) {
  fs::remove(testing::ModelFile(package_));
  ExpectRefused(StatusCode::kNotFound, "model.mlmodel");
}

TEST_F(HostileMlpackage, RefusesAModelThatIsAFolder) {
  fs::remove(testing::ModelFile(package_));
  fs::create_directory(testing::ModelFile(package_));
  ExpectRefused(StatusCode::kNotFound, "model.mlmodel");
}

TEST_F(HostileMlpackage, RefusesAModelAboveTheSizeLimit) {
  fs::resize_file(testing::ModelFile(package_), uintmax_t{33} << 20);
  ExpectRefused(StatusCode::kUnsupported, "at most 33554432 are allowed");
}

TEST_F(HostileMlpackage, RefusesAMissingWeightFile) {
  fs::remove(testing::WeightFile(package_));
  ExpectRefused(StatusCode::kNotFound, "weight.bin: no such file");
}

TEST_F(HostileMlpackage, RefusesAnotherSpecificationVersion) {
  EditModel(package_, [](coreml::Model& model) { model.set_specification_version(8); });
  ExpectRefused(StatusCode::kUnsupported, "specification version 8");
}

TEST_F(HostileMlpackage, RefusesAModelWithoutAProgram) {
  EditModel(package_, [](coreml::Model& model) { model.clear_program(); });
  ExpectRefused(StatusCode::kUnsupported, "not an ML Program");
}

TEST_F(HostileMlpackage, RefusesAnotherOpset) {
  EditModel(package_, [](coreml::Model& model) {
    (*model.mutable_program()->mutable_functions())["main"].set_opset("CoreML5");
  });
  ExpectRefused(StatusCode::kUnsupported, "opset 'CoreML5'");
}

TEST_F(HostileMlpackage, RefusesAnUnknownOperationByName) {
  EditModel(package_,
            [](coreml::Model& model) { FirstOf(MainBlock(model), "silu").set_type("topk"); });
  ExpectRefused(StatusCode::kUnsupported, "operation 'topk'");
}

TEST_F(HostileMlpackage, RefusesAnUnknownParameterByName) {
  EditModel(package_, [](coreml::Model& model) {
    auto& inputs = *FirstOf(MainBlock(model), "silu").mutable_inputs();
    inputs["alpha"] = inputs["x"];
  });
  ExpectRefused(StatusCode::kUnsupported, "parameter 'alpha'");
}

TEST_F(HostileMlpackage, RefusesANameThatNothingDefines) {
  EditModel(package_, [](coreml::Model& model) {
    auto& inputs = *FirstOf(MainBlock(model), "silu").mutable_inputs();
    inputs["x"].mutable_bindings(0)->set_name("nowhere");
  });
  ExpectRefused(StatusCode::kInvalidInput, "'nowhere', which nothing before");
}

TEST_F(HostileMlpackage, RefusesACycle) {
  EditModel(package_, [](coreml::Model& model) {
    auto& inputs = *FirstOf(MainBlock(model), "silu").mutable_inputs();
    inputs["x"].mutable_bindings(0)->set_name("act_3");
  });
  ExpectRefused(StatusCode::kInvalidInput, "'act_3', which nothing before");
}

TEST_F(HostileMlpackage, RefusesANameDefinedTwice) {
  EditModel(package_, [](coreml::Model& model) {
    *MainBlock(model).add_operations() = FirstOf(MainBlock(model), "const");
  });
  ExpectRefused(StatusCode::kInvalidInput, "is defined twice");
}

TEST_F(HostileMlpackage, RefusesANameWithControlBytesWithoutPrintingThem) {
  EditModel(package_, [](coreml::Model& model) {
    auto& inputs = *FirstOf(MainBlock(model), "silu").mutable_inputs();
    inputs["x"].mutable_bindings(0)->set_name("\x1b[31mred");
  });
  ExpectRefused(StatusCode::kInvalidInput, "'?[31mred'");
}

TEST_F(HostileMlpackage, RefusesAnOutputThatNothingComputes) {
  EditModel(package_, [](coreml::Model& model) { MainBlock(model).set_outputs(0, "x_3"); });
  ExpectRefused(StatusCode::kInvalidInput, "the output 'x_3' is not computed");
}

TEST_F(HostileMlpackage, RefusesAProgramWithoutOutputs) {
  EditModel(package_, [](coreml::Model& model) {
    MainBlock(model).clear_outputs();
    model.mutable_description()->clear_outputs();
  });
  ExpectRefused(StatusCode::kInvalidInput, "no output is declared");
}

TEST_F(HostileMlpackage, RefusesADeclaredShapeThatIsNotTheComputedOne) {
  EditModel(package_, [](coreml::Model& model) {
    auto* type = FirstOf(MainBlock(model), "silu").mutable_outputs(0)->mutable_type();
    type->mutable_tensor()->mutable_axes(3)->mutable_fixed()->set_size(9);
  });
  ExpectRefused(StatusCode::kInvalidInput, "it computes F16 [1, 10, 1, 3]");
}

TEST_F(HostileMlpackage, RefusesAShapeWhoseProductOverflows) {
  EditModel(package_, [](coreml::Model& model) {
    auto& input = *(*model.mutable_program()->mutable_functions())["main"].mutable_inputs(0);
    auto* tensor = input.mutable_type()->mutable_tensor();
    for (auto& axis : *tensor->mutable_axes()) axis.mutable_fixed()->set_size(uint64_t{1} << 39);
  });
  ExpectRefused(StatusCode::kInvalidInput, "product is beyond");
}

TEST_F(HostileMlpackage, RefusesAnAxisBeyondSignedNumbers) {
  EditModel(package_, [](coreml::Model& model) {
    auto& input = *(*model.mutable_program()->mutable_functions())["main"].mutable_inputs(0);
    input.mutable_type()->mutable_tensor()->mutable_axes(3)->mutable_fixed()->set_size(~0ull);
  });
  ExpectRefused(StatusCode::kInvalidInput, "axis of length 18446744073709551615");
}

TEST_F(HostileMlpackage, RefusesAnInputThatNoMemoryHolds) {
  EditModel(package_, [](coreml::Model& model) {
    auto& input = *(*model.mutable_program()->mutable_functions())["main"].mutable_inputs(0);
    input.mutable_type()->mutable_tensor()->mutable_axes(3)->mutable_fixed()->set_size(1u << 30);
  });
  ExpectRefused(StatusCode::kUnsupported, "at most 1073741824 are allowed");
}

TEST_F(HostileMlpackage, RefusesAnAxisOfFreeLength) {
  EditModel(package_, [](coreml::Model& model) {
    auto& input = *(*model.mutable_program()->mutable_functions())["main"].mutable_inputs(0);
    input.mutable_type()->mutable_tensor()->mutable_axes(3)->mutable_free()->set_variadic(false);
  });
  ExpectRefused(StatusCode::kUnsupported, "no fixed length");
}

TEST_F(HostileMlpackage, RefusesARankThatDisagreesWithTheAxes) {
  EditModel(package_, [](coreml::Model& model) {
    auto& input = *(*model.mutable_program()->mutable_functions())["main"].mutable_inputs(0);
    input.mutable_type()->mutable_tensor()->set_rank(3);
  });
  ExpectRefused(StatusCode::kInvalidInput, "rank 3 with 4 axes");
}

TEST_F(HostileMlpackage, RefusesARankAboveEight) {
  EditModel(package_, [](coreml::Model& model) {
    auto& input = *(*model.mutable_program()->mutable_functions())["main"].mutable_inputs(0);
    auto* tensor = input.mutable_type()->mutable_tensor();
    while (tensor->axes_size() < 9) tensor->add_axes()->mutable_fixed()->set_size(1);
    tensor->set_rank(9);
  });
  ExpectRefused(StatusCode::kUnsupported, "rank 9; at most 8");
}

TEST_F(HostileMlpackage, RefusesAState) {
  EditModel(package_, [](coreml::Model& model) {
    auto& input = *(*model.mutable_program()->mutable_functions())["main"].mutable_inputs(0);
    input.mutable_type()->mutable_state();
  });
  ExpectRefused(StatusCode::kUnsupported, "is not a tensor");
}

TEST_F(HostileMlpackage, RefusesAnUnknownElementType) {
  EditModel(package_, [](coreml::Model& model) {
    auto& input = *(*model.mutable_program()->mutable_functions())["main"].mutable_inputs(0);
    input.mutable_type()->mutable_tensor()->set_element(static_cast<coreml::ElementType>(13));
  });
  ExpectRefused(StatusCode::kUnsupported, "element type number 13");
}

TEST_F(HostileMlpackage, RefusesADescriptionOfAnotherShape) {
  EditModel(package_, [](coreml::Model& model) {
    auto* feature = model.mutable_description()->mutable_inputs(0);
    feature->mutable_type()->mutable_array()->set_shape(3, 4);
  });
  ExpectRefused(StatusCode::kInvalidInput, "description of 'x_3' does not agree");
}

TEST_F(HostileMlpackage, RefusesADescriptionWithoutAnInput) {
  EditModel(package_, [](coreml::Model& model) {
    model.mutable_description()->mutable_inputs()->RemoveLast();
  });
  ExpectRefused(StatusCode::kInvalidInput, "described are 1 inputs");
}

TEST_F(HostileMlpackage, RefusesAFunctionThatIsDescribedButMissing) {
  EditModel(package_, [](coreml::Model& model) {
    auto& functions = *model.mutable_program()->mutable_functions();
    functions["other"] = functions["main"];
    functions.erase("main");
  });
  ExpectRefused(StatusCode::kNotFound, "function 'main'");
}

TEST_F(HostileMlpackage, RefusesFlexibleShapes) {
  EditModel(package_, [](coreml::Model& model) {
    auto* feature = model.mutable_description()->mutable_inputs(0);
    feature->mutable_type()->mutable_array()->mutable_shape_range();
  });
  ExpectRefused(StatusCode::kUnsupported, "one fixed shape");
}

TEST_F(HostileMlpackage, RefusesNestedBlocks) {
  EditModel(package_, [](coreml::Model& model) { FirstOf(MainBlock(model), "silu").add_blocks(); });
  ExpectRefused(StatusCode::kUnsupported, "nested blocks");
}

// Points the first weight elsewhere.
void MoveFirstWeight(coreml::Model& model, uint64_t offset) {
  for (auto& operation : *MainBlock(model).mutable_operations()) {
    auto& attributes = *operation.mutable_attributes();
    if (!attributes.contains("val") || !attributes["val"].has_blob()) continue;
    attributes["val"].mutable_blob()->set_offset(offset);
    return;
  }
}

TEST_F(HostileMlpackage, RefusesAWeightBeyondTheFile) {
  EditModel(package_, [](coreml::Model& model) { MoveFirstWeight(model, uint64_t{1} << 40); });
  ExpectRefused(StatusCode::kInvalidInput, "there is no blob at this offset");
}

TEST_F(HostileMlpackage, RefusesAWeightAtAnOddOffset) {
  EditModel(package_, [](coreml::Model& model) { MoveFirstWeight(model, 65); });
  ExpectRefused(StatusCode::kInvalidInput, "there is no blob at this offset");
}

TEST_F(HostileMlpackage, RefusesAWeightOfAnotherSize) {
  EditModel(package_, [](coreml::Model& model) {
    for (auto& operation : *MainBlock(model).mutable_operations()) {
      if (operation.outputs(0).name() != "w_up_3") continue;
      const auto grow = [](coreml::ValueDeclaration* type) {
        type->mutable_tensor()->mutable_axes(0)->mutable_fixed()->set_size(11);
      };
      grow(operation.mutable_outputs(0)->mutable_type());
      grow((*operation.mutable_attributes())["val"].mutable_type());
    }
  });
  ExpectRefused(StatusCode::kInvalidInput, "'w_up_3' [11, 12, 1, 1] needs 264 bytes");
}

TEST_F(HostileMlpackage, RefusesAWeightInAnotherFile) {
  EditModel(package_, [](coreml::Model& model) {
    for (auto& operation : *MainBlock(model).mutable_operations()) {
      auto& attributes = *operation.mutable_attributes();
      if (!attributes.contains("val") || !attributes["val"].has_blob()) continue;
      attributes["val"].mutable_blob()->set_file_name("@model_path/../../../etc/passwd");
    }
  });
  ExpectRefused(StatusCode::kUnsupported, "etc/passwd'; only @model_path/weights/weight.bin");
}

TEST_F(HostileMlpackage, RefusesAnImmediateOfAnotherLength) {
  EditModel(package_, [](coreml::Model& model) {
    for (auto& operation : *MainBlock(model).mutable_operations()) {
      if (operation.outputs(0).name() != "ints_1_1") continue;
      auto* literal = (*operation.mutable_attributes())["val"].mutable_immediate();
      literal->mutable_tensor()->mutable_ints()->add_values(1);
    }
  });
  ExpectRefused(StatusCode::kInvalidInput, "'ints_1_1' is declared I32 [2]; it holds 3");
}

TEST_F(HostileMlpackage, RefusesAManifestPathThatLeavesThePackage) {
  std::string manifest = testing::ReadBytes(testing::ManifestFile(package_));
  const std::string path = "com.apple.CoreML/model.mlmodel";
  manifest.replace(manifest.find(path), path.size(), "../../p.mlpackage/Data/secret");
  testing::WriteBytes(testing::ManifestFile(package_), manifest);
  ExpectRefused(StatusCode::kInvalidInput, "must be relative and stay inside");
}

TEST_F(HostileMlpackage, RefusesAnAbsoluteManifestPath) {
  std::string manifest = testing::ReadBytes(testing::ManifestFile(package_));
  const std::string path = "com.apple.CoreML/model.mlmodel";
  manifest.replace(manifest.find(path), path.size(), "/etc/passwd");
  testing::WriteBytes(testing::ManifestFile(package_), manifest);
  ExpectRefused(StatusCode::kInvalidInput, "must be relative and stay inside");
}

TEST_F(HostileMlpackage, RefusesANewerManifest) {
  std::string manifest = testing::ReadBytes(testing::ManifestFile(package_));
  manifest.replace(manifest.find("1.0.0"), 5, "2.0.0");
  testing::WriteBytes(testing::ManifestFile(package_), manifest);
  ExpectRefused(StatusCode::kInvalidInput, "'2.0.0'; only 1.0.0 is allowed");
}

TEST_F(HostileMlpackage, RefusesAManifestOfManyEntries) {
  std::string entries;
  for (int i = 0; i < 17; ++i) {
    entries += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\": {}";
  }
  testing::WriteBytes(testing::ManifestFile(package_),
                      "{\"fileFormatVersion\": \"1.0.0\", \"rootModelIdentifier\": \"0\", "
                      "\"itemInfoEntries\": {" +
                          entries + "}}");
  ExpectRefused(StatusCode::kInvalidInput, "found 17 entries; at most 16");
}

TEST_F(HostileMlpackage, RefusesAManifestWithoutItsRoot) {
  testing::WriteBytes(testing::ManifestFile(package_),
                      "{\"fileFormatVersion\": \"1.0.0\", \"rootModelIdentifier\": \"a\", "
                      "\"itemInfoEntries\": {}}");
  ExpectRefused(StatusCode::kInvalidInput, "'a' is not among itemInfoEntries");
}

}  // namespace
}  // namespace npumoe
