#include "model/fused_experts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "model/synthetic.h"

namespace npumoe {
namespace {

using Tensors = std::map<std::string, TensorView>;

constexpr int kExperts = 3;
constexpr int kIntermediate = 32;
constexpr int kHidden = 64;

// The first layer of a small model that has MoE layers only.
ModelConfig ConfigOf(std::string_view model_type) {
  ModelConfig config = SmallConfigOf(model_type).value();
  config.hidden_size = kHidden;
  config.num_layers = 1;
  config.is_moe_layer = {true};
  config.attention.layer_has_window.clear();
  config.moe.num_experts = kExperts;
  config.moe.expert_intermediate_size = kIntermediate;
  config.dense_intermediate_size = 0;
  return config;
}

std::string FileOf(const std::string&) { return "shard-1"; }

// A file in memory whose values are all different.
class FakeFile {
 public:
  const TensorView& AddFloats(const std::string& name, const Shape& shape) {
    auto& values = floats_[name];
    values.resize(static_cast<size_t>(shape.elements()));
    std::iota(values.begin(), values.end(), next_);
    next_ += static_cast<float>(values.size());
    return Add(name, {DType::kF32, shape, reinterpret_cast<const std::byte*>(values.data())});
  }
  const TensorView& AddHalves(const std::string& name, const Shape& shape) {
    auto& values = halves_[name];
    values.resize(static_cast<size_t>(shape.elements()));
    std::iota(values.begin(), values.end(), uint16_t{1});
    return Add(name, {DType::kBF16, shape, reinterpret_cast<const std::byte*>(values.data())});
  }
  const TensorView& AddBytes(const std::string& name, const Shape& shape, int lowest, int highest) {
    auto& values = bytes_[name];
    values.resize(static_cast<size_t>(shape.elements()));
    std::uniform_int_distribution<int> any(lowest, highest);
    for (std::byte& value : values) value = static_cast<std::byte>(any(random_));
    return Add(name, {DType::kU8, shape, values.data()});
  }
  const TensorView& Add(const std::string& name, const TensorView& view) {
    return tensors[name] = view;
  }

  Tensors tensors;

 private:
  float next_ = 0;
  std::mt19937 random_{7};
  std::map<std::string, std::vector<float>> floats_;
  std::map<std::string, std::vector<uint16_t>> halves_;
  std::map<std::string, std::vector<std::byte>> bytes_;
};

ExpectedTensor Expected(TensorRole role, const ModelConfig& config, int expert) {
  ExpectedTensor expected;
  expected.role = role;
  expected.shape = ShapeOf(role, config);
  expected.expert = expert;
  return expected;
}

FusedPart Find(const ModelConfig& config, TensorRole role, int expert, const Tensors& tensors) {
  auto found = FindFusedPart(*FindFamily(config.family), config, Expected(role, config, expert),
                             tensors, FileOf);
  EXPECT_TRUE(found.ok()) << found.status().message();
  EXPECT_TRUE(found.ok() && found->has_value());
  return found.ok() && found->has_value() ? **found : FusedPart{};
}

std::string Refusal(const ModelConfig& config, TensorRole role, const Tensors& tensors) {
  const auto found =
      FindFusedPart(*FindFamily(config.family), config, Expected(role, config, 0), tensors, FileOf);
  return found.ok() ? "found" : found.status().message();
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

const std::string kGraniteIn = "model.layers.0.block_sparse_moe.input_linear.weight";
const std::string kGraniteOut = "model.layers.0.block_sparse_moe.output_linear.weight";
const std::string kGateUp = "model.layers.0.mlp.experts.gate_up_proj";
const std::string kDown = "model.layers.0.mlp.experts.down_proj";

// Element [e, r, c] of [kExperts, rows, columns].
float At(const TensorView& fused, int e, int r, int c) {
  return fused.as<float>()[(e * fused.shape[1] + r) * fused.shape[2] + c];
}
float At(const TensorView& matrix, int r, int c) {
  return matrix.as<float>()[r * matrix.shape[1] + c];
}

TEST(FusedExperts, OfHalvesAreViewsGateFirst) {
  const ModelConfig config = ConfigOf("granitemoe");
  FakeFile file;
  const TensorView& fused =
      file.AddFloats(kGraniteIn, Shape({kExperts, 2 * kIntermediate, kHidden}));
  for (int e = 0; e < kExperts; ++e) {
    const FusedPart gate = Find(config, TensorRole::kExpertGate, e, file.tensors);
    const FusedPart up = Find(config, TensorRole::kExpertUp, e, file.tensors);
    EXPECT_EQ(gate.storage, nullptr);
    EXPECT_EQ(gate.view.shape, Shape({kIntermediate, kHidden}));
    EXPECT_EQ(gate.view.as<float>(), fused.as<float>() + e * 2 * kIntermediate * kHidden);
    EXPECT_EQ(up.view.as<float>(), gate.view.as<float>() + kIntermediate * kHidden);
    EXPECT_EQ(up.sources, std::vector<std::string>{kGraniteIn});
  }
}

TEST(FusedExperts, OfOneRoleAreViews) {
  const ModelConfig config = ConfigOf("granitemoe");
  FakeFile file;
  const TensorView& fused = file.AddHalves(kGraniteOut, Shape({kExperts, kHidden, kIntermediate}));
  const FusedPart down = Find(config, TensorRole::kExpertDown, 2, file.tensors);
  EXPECT_EQ(down.view.dtype, DType::kBF16);
  EXPECT_EQ(down.view.as<uint16_t>(), fused.as<uint16_t>() + 2 * kHidden * kIntermediate);
}

TEST(FusedExperts, ThatAlternateAndLieTransposedAreCopied) {
  const ModelConfig config = ConfigOf("gpt_oss");
  FakeFile file;
  const TensorView& fused = file.AddFloats(kGateUp, Shape({kExperts, kHidden, 2 * kIntermediate}));
  for (int e = 0; e < kExperts; ++e) {
    const FusedPart gate = Find(config, TensorRole::kExpertGate, e, file.tensors);
    const FusedPart up = Find(config, TensorRole::kExpertUp, e, file.tensors);
    EXPECT_NE(gate.storage, nullptr);
    for (int r = 0; r < kIntermediate; ++r) {
      for (int c = 0; c < kHidden; ++c) {
        ASSERT_EQ(At(gate.view, r, c), At(fused, e, c, 2 * r));
        ASSERT_EQ(At(up.view, r, c), At(fused, e, c, 2 * r + 1));
      }
    }
  }
}

TEST(FusedExperts, InSixteenBitsAreTransposedToo) {
  const ModelConfig config = ConfigOf("gpt_oss");
  FakeFile file;
  const TensorView& fused = file.AddHalves(kDown, Shape({kExperts, kIntermediate, kHidden}));
  const FusedPart down = Find(config, TensorRole::kExpertDown, 1, file.tensors);
  EXPECT_EQ(down.view.shape, Shape({kHidden, kIntermediate}));
  for (int r = 0; r < kHidden; ++r) {
    for (int c = 0; c < kIntermediate; ++c) {
      ASSERT_EQ(down.view.as<uint16_t>()[r * kIntermediate + c],
                fused.as<uint16_t>()[(kIntermediate + c) * kHidden + r]);
    }
  }
}

TEST(FusedExperts, HaveBiasesThatAlternate) {
  const ModelConfig config = ConfigOf("gpt_oss");
  FakeFile file;
  const TensorView& fused = file.AddFloats(kGateUp + "_bias", Shape({kExperts, 2 * kIntermediate}));
  file.AddFloats(kDown + "_bias", Shape({kExperts, kHidden}));
  const FusedPart gate = Find(config, TensorRole::kExpertGateBias, 1, file.tensors);
  const FusedPart up = Find(config, TensorRole::kExpertUpBias, 1, file.tensors);
  const FusedPart down = Find(config, TensorRole::kExpertDownBias, 2, file.tensors);
  EXPECT_EQ(gate.view.shape, Shape({kIntermediate}));
  const float* row = fused.as<float>() + 2 * kIntermediate;
  for (int i = 0; i < kIntermediate; ++i) {
    EXPECT_EQ(gate.view.as<float>()[i], row[2 * i]);
    EXPECT_EQ(up.view.as<float>()[i], row[2 * i + 1]);
  }
  EXPECT_EQ(down.view.as<float>(), file.tensors[kDown + "_bias"].as<float>() + 2 * kHidden);
}

// The values of four bits: sign, two bits of exponent, one of mantissa (OCP MX specification).
constexpr float kE2M1[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

// Element i of a row of a safetensors file: two in a byte, the even one in the low bits.
float FileElement(const std::byte* nibbles, const std::byte* scales, int64_t i) {
  const auto byte = std::to_integer<unsigned>(nibbles[i / 2]);
  const int exponent = std::to_integer<int>(scales[i / 32]) - 127;
  return std::ldexp(kE2M1[i % 2 == 0 ? byte & 15 : byte >> 4], exponent);
}

// Element i of a row of GGUF blocks: the low bits hold the first half of a block.
float BlockElement(const std::byte* blocks, int64_t i) {
  const std::byte* block = blocks + i / 32 * 17;
  const int64_t j = i % 32;
  const auto byte = std::to_integer<unsigned>(block[1 + j % 16]);
  return std::ldexp(kE2M1[j < 16 ? byte & 15 : byte >> 4], std::to_integer<int>(block[0]) - 127);
}

void AddMxfp4(FakeFile& file, const std::string& name, int rows, int columns) {
  file.AddBytes(name + "_blocks", Shape({kExperts, rows, columns / 32, 16}), 0, 255);
  file.AddBytes(name + "_scales", Shape({kExperts, rows, columns / 32}), 100, 140);
}

void ExpectMxfp4Rows(const FusedPart& part, const FakeFile& file, const std::string& name, int e,
                     int first, int step) {
  const TensorView blocks = file.tensors.at(name + "_blocks").Slice(e);
  const TensorView scales = file.tensors.at(name + "_scales").Slice(e);
  const auto rows = static_cast<int>(part.view.shape[0]);
  const int64_t columns = part.view.shape[1];
  ASSERT_EQ(part.view.dtype, DType::kMXFP4);
  for (int r = 0; r < rows; ++r) {
    const int64_t row_blocks = (first + r * step) * (columns / 32);
    for (int64_t c = 0; c < columns; ++c) {
      ASSERT_EQ(BlockElement(part.view.data + r * (columns / 32) * 17, c),
                FileElement(blocks.data + row_blocks * 16, scales.data + row_blocks, c))
          << name << " expert " << e << " row " << r << " column " << c;
    }
  }
}

TEST(FusedExperts, InMxfp4BecomeBlocksOfTheSameValues) {
  const ModelConfig config = ConfigOf("gpt_oss");
  FakeFile file;
  AddMxfp4(file, kGateUp, 2 * kIntermediate, kHidden);
  AddMxfp4(file, kDown, kHidden, kIntermediate);
  for (int e = 0; e < kExperts; ++e) {
    ExpectMxfp4Rows(Find(config, TensorRole::kExpertGate, e, file.tensors), file, kGateUp, e, 0, 2);
    ExpectMxfp4Rows(Find(config, TensorRole::kExpertUp, e, file.tensors), file, kGateUp, e, 1, 2);
    ExpectMxfp4Rows(Find(config, TensorRole::kExpertDown, e, file.tensors), file, kDown, e, 0, 1);
  }
}

TEST(FusedExperts, InMxfp4NeedBothTensors) {
  const ModelConfig config = ConfigOf("gpt_oss");
  FakeFile file;
  AddMxfp4(file, kDown, kHidden, kIntermediate);
  Tensors no_scales = file.tensors;
  no_scales.erase(kDown + "_scales");
  EXPECT_CONTAINS(Refusal(config, TensorRole::kExpertDown, no_scales), "'" + kDown + "_scales'");
  Tensors no_blocks = file.tensors;
  no_blocks.erase(kDown + "_blocks");
  EXPECT_CONTAINS(Refusal(config, TensorRole::kExpertDown, no_blocks), "'" + kDown + "_blocks'");
}

TEST(FusedExperts, InMxfp4AreRefusedInAnotherTypeOrShape) {
  const ModelConfig config = ConfigOf("gpt_oss");
  FakeFile file;
  AddMxfp4(file, kDown, kHidden, kIntermediate);
  Tensors wrong = file.tensors;
  wrong[kDown + "_blocks"].dtype = DType::kI8;
  EXPECT_CONTAINS(Refusal(config, TensorRole::kExpertDown, wrong), "type I8");
  wrong = file.tensors;
  wrong[kDown + "_scales"].shape = Shape({kExperts, kHidden, 2});
  EXPECT_CONTAINS(Refusal(config, TensorRole::kExpertDown, wrong), "[3, 64, 1]");
}

TEST(FusedExperts, InMxfp4AreRefusedWhereABlockDoesNotDivideTheRows) {
  ModelConfig config = ConfigOf("gpt_oss");
  FakeFile file;
  AddMxfp4(file, kDown, kHidden, kIntermediate);
  config.moe.expert_intermediate_size = 40;
  EXPECT_CONTAINS(Refusal(config, TensorRole::kExpertDown, file.tensors), "40");
}

TEST(FusedExperts, AreRefusedInAnotherShapeWithBothShapes) {
  const ModelConfig config = ConfigOf("granitemoe");
  FakeFile file;
  file.AddFloats(kGraniteIn, Shape({kExperts, kIntermediate, kHidden}));
  const std::string text = Refusal(config, TensorRole::kExpertUp, file.tensors);
  EXPECT_CONTAINS(text, "shard-1: tensor '" + kGraniteIn + "'");
  EXPECT_CONTAINS(text, "[3, 32, 64]");
  EXPECT_CONTAINS(text, "[3, 64, 64]");
}

TEST(FusedExperts, AreRefusedInAnotherType) {
  const ModelConfig config = ConfigOf("granitemoe");
  FakeFile file;
  file.AddBytes(kGraniteOut, Shape({kExperts, kHidden, kIntermediate}), 0, 255);
  EXPECT_CONTAINS(Refusal(config, TensorRole::kExpertDown, file.tensors), "type U8");
}

TEST(FusedExperts, AreNotFoundWhereThereAreNone) {
  const ModelConfig config = ConfigOf("granitemoe");
  EXPECT_EQ(Refusal(config, TensorRole::kExpertDown, {}), "found");
  EXPECT_EQ(Refusal(config, TensorRole::kRouter, {}), "found");
  const ExpectedTensor router = Expected(TensorRole::kRouter, config, 0);
  EXPECT_EQ(FusedNameOf(*FindFamily("granitemoe"), router), "");
  const ExpectedTensor down = Expected(TensorRole::kExpertDown, config, 0);
  EXPECT_EQ(FusedNameOf(*FindFamily("granitemoe"), down), kGraniteOut);
}

// Every tensor of a model under its own name.
FakeFile PlainFile(const ModelConfig& config) {
  FakeFile file;
  const auto add = [&file](const ExpectedTensor& tensor) {
    file.AddFloats(tensor.name, tensor.shape);
    return OkStatus();
  };
  EXPECT_TRUE(ForEachExpectedTensor(*FindFamily(config.family), config, add).ok());
  return file;
}

// [experts, rows, columns] of the plain file's tensors, those of one role below those of the other.
std::vector<float> Stacked(const ModelConfig& config, std::span<const TensorRole> roles,
                           const ModelWeights& weights) {
  std::vector<float> values;
  for (int e = 0; e < kExperts; ++e) {
    for (const TensorRole role : roles) {
      const TensorView* view = PlacedTensor(Expected(role, config, e), weights);
      const auto count = static_cast<size_t>(view->shape.elements());
      values.insert(values.end(), view->as<float>(), view->as<float>() + count);
    }
  }
  return values;
}

bool SameBytes(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.shape == b.shape && std::memcmp(a.data, b.data, a.bytes()) == 0;
}

TEST(FusedExperts, InTheNewerFormBindLikeOneTensorAnExpert) {
  constexpr TensorRole kGateAndUp[] = {TensorRole::kExpertGate, TensorRole::kExpertUp};
  constexpr TensorRole kDownOnly[] = {TensorRole::kExpertDown};
  for (const char* type : {"deepseek_v2", "mixtral", "olmoe", "phimoe", "qwen2_moe", "qwen3_moe"}) {
    const ModelConfig config = ConfigOf(type);
    const FakeFile plain = PlainFile(config);
    const auto expected = BindWeights(config, plain.tensors, "plain", FileOf);
    ASSERT_TRUE(expected.ok()) << expected.status().message();
    const std::vector<float> gate_up = Stacked(config, kGateAndUp, *expected);
    const std::vector<float> down = Stacked(config, kDownOnly, *expected);
    Tensors fused = plain.tensors;
    std::erase_if(fused, [](const auto& entry) {
      return entry.first.find(".experts.") != std::string::npos;
    });
    fused[kGateUp] = {DType::kF32, Shape({kExperts, 2 * kIntermediate, kHidden}),
                      reinterpret_cast<const std::byte*>(gate_up.data())};
    fused[kDown] = {DType::kF32, Shape({kExperts, kHidden, kIntermediate}),
                    reinterpret_cast<const std::byte*>(down.data())};
    const auto bound = BindWeights(config, fused, "fused", FileOf);
    ASSERT_TRUE(bound.ok()) << bound.status().message();
    const auto compare = [&](const ExpectedTensor& tensor) {
      EXPECT_TRUE(SameBytes(*PlacedTensor(tensor, *bound), *PlacedTensor(tensor, *expected)))
          << tensor.name;
      return OkStatus();
    };
    EXPECT_TRUE(ForEachExpectedTensor(*FindFamily(type), config, compare).ok());
  }
}

}  // namespace
}  // namespace npumoe
