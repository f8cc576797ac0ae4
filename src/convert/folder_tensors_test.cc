#include "convert/folder_tensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/dtype.h"
#include "convert/report.h"
#include "model/synthetic.h"

namespace npumoe {
namespace {

constexpr float kNeedsF32 = 1.0f + 0x1p-20f;  // neither F16 nor BF16 has this number

// A model whose tensors of one role all have one type and one value.
class FakeModel {
 public:
  explicit FakeModel(std::string_view family) : config_(*SmallConfigOf(family)) {}

  void Set(TensorRole role, DType type, float value) { Fill(roles_[role], role, type, value); }
  // The second expert is unlike the others.
  void SetSecondExpert(TensorRole role, DType type) { Fill(second_[role], role, type, 1.0f); }

  ConvertSource Source() {
    ConvertSource source;
    source.path = "fake.gguf";
    source.config = config_;
    source.find = [this](const ExpectedTensor& expected) { return Find(expected); };
    source.refuse_left_over = [] { return OkStatus(); };
    return source;
  }
  const ModelConfig& config() const { return config_; }

 private:
  struct Content {
    DType type;
    std::vector<std::byte> bytes;
  };

  void Fill(Content& content, TensorRole role, DType type, float value) const {
    const int64_t elements = ShapeOf(role, config_).elements();
    content.type = type;
    content.bytes.assign(BytesOf(type, elements), std::byte{0});  // blocks of zeros
    for (int64_t i = 0; i < elements; ++i) {
      if (type == DType::kF32) reinterpret_cast<float*>(content.bytes.data())[i] = value;
      if (type == DType::kF16) {
        reinterpret_cast<uint16_t*>(content.bytes.data())[i] = F16FromF32(value);
      }
    }
  }

  Result<std::optional<FoundTensor>> Find(const ExpectedTensor& expected) {
    if (!roles_.contains(expected.role)) Set(expected.role, DType::kBF16, 0.0f);
    const bool is_second = expected.expert == 1 && second_.contains(expected.role);
    const Content& content = (is_second ? second_ : roles_)[expected.role];
    return std::optional(FoundTensor{
        {content.type, ShapeOf(expected.role, config_), content.bytes.data()}, nullptr, {}});
  }

  ModelConfig config_;
  std::map<TensorRole, Content> roles_, second_;
};

struct Written {
  Result<std::vector<OutputTensor>> tensors;
  ConvertReport report;

  const OutputTensor* Find(std::string_view ending) const {
    if (!tensors.ok()) return nullptr;
    const auto found = std::ranges::find_if(
        *tensors, [&](const OutputTensor& t) { return t.name.ends_with(ending); });
    return found == tensors->end() ? nullptr : &*found;
  }
  std::string error() const { return tensors.ok() ? "no error" : tensors.status().message(); }
};

Written Write(const ConvertSource& source, TypeRule rule = TypeRule::kLossless) {
  TypePolicy policy;
  policy.rule = rule;
  policy.only_plain = true;
  ConvertReport report;
  auto tensors = FolderTensors(source, policy, report);
  return {std::move(tensors), report};
}

std::vector<float> FloatsOf(const OutputTensor& tensor) {
  std::string bytes;
  const Status status = tensor.write([&bytes](std::string_view piece) {
    bytes += piece;
    return OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(bytes.size(), tensor.bytes());
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

TEST(FolderTensors, GiveATensorOfTwoRolesOneTypeThatHoldsBoth) {
  FakeModel model("granitemoe");
  model.Set(TensorRole::kExpertGate, DType::kF16, 0.5f);
  model.Set(TensorRole::kExpertUp, DType::kF32, kNeedsF32);
  const ConvertSource source = model.Source();
  const Written written = Write(source);
  const OutputTensor* tensor = written.Find("input_linear.weight");
  ASSERT_NE(tensor, nullptr) << written.error();
  ASSERT_EQ(tensor->dtype, DType::kF32);
  const std::vector<float> values = FloatsOf(*tensor);
  EXPECT_EQ(values.front(), 0.5f);
  EXPECT_EQ(values.back(), kNeedsF32);
}

TEST(FolderTensors, ReportThatARoleGotTheTypeOfAnother) {
  FakeModel model("granitemoe");
  model.Set(TensorRole::kExpertGate, DType::kF16, 0.5f);
  model.Set(TensorRole::kExpertUp, DType::kF32, kNeedsF32);
  const ConvertSource source = model.Source();
  const ConvertReport report = Write(source).report;
  ASSERT_EQ(report.fallbacks.size(), 1u);
  const TypeFallback& fallback = report.fallbacks[0];
  EXPECT_EQ(fallback.weights, "experts gate");
  EXPECT_EQ(fallback.wanted, DType::kF16);
  EXPECT_EQ(fallback.used, DType::kF32);
  EXPECT_EQ(fallback.tensors, model.config().num_layers);
  EXPECT_TRUE(report.lossy.empty());
}

TEST(FolderTensors, WidenMxfp4ThatSharesATensorWithPlainNumbers) {
  FakeModel model("gpt_oss");
  model.Set(TensorRole::kExpertGate, DType::kMXFP4, 0.0f);
  model.Set(TensorRole::kExpertUp, DType::kF16, 0.5f);
  const ConvertSource source = model.Source();
  const Written written = Write(source);
  EXPECT_EQ(written.Find("gate_up_proj_blocks"), nullptr);
  const OutputTensor* tensor = written.Find("gate_up_proj");
  ASSERT_NE(tensor, nullptr) << written.error();
  ASSERT_EQ(tensor->dtype, DType::kF32);
  const std::vector<float> values = FloatsOf(*tensor);
  EXPECT_EQ(values[0], 0.0f);  // rows of gate and up take turns
  EXPECT_EQ(values[1], 0.5f);
}

TEST(FolderTensors, LeaveMxfp4ThatAllRolesHave) {
  FakeModel model("gpt_oss");
  for (const TensorRole role : {TensorRole::kExpertGate, TensorRole::kExpertUp}) {
    model.Set(role, DType::kMXFP4, 0.0f);
  }
  const ConvertSource source = model.Source();
  const Written written = Write(source, TypeRule::kKeep);
  EXPECT_NE(written.Find("gate_up_proj_blocks"), nullptr) << written.error();
  EXPECT_NE(written.Find("gate_up_proj_scales"), nullptr);
  EXPECT_NE(written.Find("experts.down_proj"), nullptr);  // BF16
  EXPECT_TRUE(written.report.fallbacks.empty());
}

TEST(FolderTensors, KeepNoTypesThatOneTensorCannotKeep) {
  FakeModel model("granitemoe");
  model.Set(TensorRole::kExpertGate, DType::kF16, 0.5f);
  model.Set(TensorRole::kExpertUp, DType::kF32, kNeedsF32);
  const ConvertSource source = model.Source();
  const std::string error = Write(source, TypeRule::kKeep).error();
  for (const char* part : {"fake.gguf", "gate_proj.weight' is F16", "up_proj.weight' is F32",
                           "--type keep is impossible"}) {
    EXPECT_NE(error.find(part), error.npos) << error;
  }
}

TEST(FolderTensors, RefuseAnExpertOfAnotherTypeThanTheFirst) {
  FakeModel model("gpt_oss");
  model.Set(TensorRole::kExpertDown, DType::kMXFP4, 0.0f);
  model.SetSecondExpert(TensorRole::kExpertDown, DType::kF16);
  const ConvertSource source = model.Source();
  const std::string error = Write(source).error();
  EXPECT_NE(error.find("expert 1 is F16, the first one MXFP4"), error.npos) << error;
}

TEST(FolderTensors, KeepEveryExpertForItselfWhereThatIsPublished) {
  FakeModel model("qwen3_moe");
  const ConvertSource source = model.Source();
  const Written written = Write(source);
  ASSERT_NE(written.Find("layers.0.mlp.experts.7.up_proj.weight"), nullptr) << written.error();
  EXPECT_EQ(written.Find("gate_up_proj"), nullptr);
}

}  // namespace
}  // namespace npumoe
