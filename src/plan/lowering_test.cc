#include "plan/lowering.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "plan/sample_plan.h"

namespace npumoe {
namespace {

constexpr int kHidden = 6;  // sizes of SamplePlan
constexpr int kInner = 4;
constexpr int kExperts = 8;

// Eight experts whose weights tell which expert and matrix they are: expert + matrix / 4.
class SampleExperts {
 public:
  SampleExperts() {
    for (int expert = 0; expert < kExperts; ++expert) {
      ffns_.push_back({Matrix(expert + 0.0f, {kInner, kHidden}),
                       Matrix(expert + 0.25f, {kInner, kHidden}),
                       Matrix(expert + 0.5f, {kHidden, kInner})});
    }
  }
  std::vector<FfnWeights>& ffns() { return ffns_; }
  std::vector<float>& values(size_t matrix) { return storage_[matrix]; }

 private:
  TensorView Matrix(float value, Shape shape) {
    storage_[matrices_].assign(kHidden * kInner, value);
    const auto* data = reinterpret_cast<const std::byte*>(storage_[matrices_++].data());
    return {DType::kF32, shape, data};
  }
  std::vector<std::vector<float>> storage_{3 * kExperts};
  size_t matrices_ = 0;
  std::vector<FfnWeights> ffns_;
};

Plan Fp16Plan() {
  Plan plan = SamplePlan();
  plan.weight_format = WeightFormat::kF16;
  return plan;
}

Result<Graph> Lower(const Plan& plan, size_t program, const std::vector<FfnWeights>& experts) {
  NPUMOE_ASSIGN_OR_RETURN(
      std::vector<Graph> functions,
      LowerProgram(plan, plan.layers[0], plan.layers[0].programs[program], experts));
  return std::move(functions.front());
}

// All weights of a graph as its writer would see them, in the order of their names.
Result<std::vector<float>> Weights(const Graph& graph) {
  std::vector<float> values;
  for (const auto& [name, constant] : graph.constants) {
    const auto* weight = std::get_if<WeightData>(&constant.value);
    if (weight == nullptr) continue;
    std::vector<uint16_t> bits(constant.spec.bytes() / 2);
    NPUMOE_RETURN_IF_ERROR(weight->produce(std::as_writable_bytes(std::span(bits))));
    for (const uint16_t value : bits) values.push_back(F32FromF16(value));
  }
  return values;
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(Lowering, GivesEachExpertAnInputOfItsOwnCapacity) {
  SampleExperts experts;
  const auto graph = Lower(Fp16Plan(), 0, experts.ffns());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  ASSERT_EQ(graph->inputs.size(), 2u);
  EXPECT_EQ(graph->inputs[0].shape, Shape({1, kHidden, 1, 64}));
  EXPECT_EQ(graph->inputs[1].shape, Shape({1, kHidden, 1, 48}));
  EXPECT_EQ(graph->WeightBytes(), 2 * 3 * kHidden * kInner * 2);
}

TEST(Lowering, FillsProgramsWithTheirOwnExpertsOnly) {
  SampleExperts experts;
  const Plan plan = Fp16Plan();
  for (size_t program = 0; program < 2; ++program) {
    const auto graph = Lower(plan, program, experts.ffns());
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    const auto weights = Weights(*graph);
    ASSERT_TRUE(weights.ok()) << weights.status().message();
    for (const PlannedExpert& planned : plan.layers[0].programs[program].experts) {
      for (const float matrix : {0.0f, 0.25f, 0.5f}) {
        EXPECT_EQ(std::ranges::count(*weights, static_cast<float>(planned.expert) + matrix),
                  kHidden * kInner);
      }
    }
  }
}

TEST(Lowering, GivesTheSharedExpertItsOwnSize) {
  SampleExperts experts;
  constexpr int kSharedInner = 10;  // of SamplePlan
  const std::vector<float> values(kHidden * kSharedInner, 0.125f);
  const auto* data = reinterpret_cast<const std::byte*>(values.data());
  const TensorView inward{DType::kF32, Shape{kSharedInner, kHidden}, data};
  const TensorView outward{DType::kF32, Shape{kHidden, kSharedInner}, data};
  experts.ffns().push_back({inward, inward, outward});
  const Plan plan = Fp16Plan();
  const PlannedProgram program{GraphForm::kDenseChains, {{kExperts, 512}}};
  const auto graph = LowerProgram(plan, plan.layers[0], program, experts.ffns());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(graph->front().WeightBytes(), 3 * kHidden * kSharedInner * 2);
}

TEST(Lowering, TakesTheBiasesOfExperts) {
  SampleExperts experts;
  const std::vector<float> values(kHidden, 0.125f);
  const auto* data = reinterpret_cast<const std::byte*>(values.data());
  for (FfnWeights& ffn : experts.ffns()) {
    ffn.gate_bias = ffn.up_bias = {DType::kF32, Shape{kInner}, data};
    ffn.down_bias = {DType::kF32, Shape{kHidden}, data};
  }
  const auto graph = Lower(Fp16Plan(), 0, experts.ffns());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const auto weights = Weights(*graph);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  EXPECT_EQ(std::ranges::count(*weights, 0.125f), 2 * (2 * kInner + kHidden));
}

TEST(Lowering, NamesTheBiasThatFp16CannotHold) {
  SampleExperts experts;
  const std::vector<float> values(kHidden, 1e6f);
  const auto* data = reinterpret_cast<const std::byte*>(values.data());
  for (FfnWeights& ffn : experts.ffns()) {
    ffn.gate_bias = ffn.up_bias = {DType::kF32, Shape{kInner}, data};
    ffn.down_bias = {DType::kF32, Shape{kHidden}, data};
  }
  const auto graph = Lower(Fp16Plan(), 0, experts.ffns());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_CONTAINS(Weights(*graph).status().message(), "down bias: weight 0 is 1000000");
}

TEST(Lowering, NamesTheWeightThatFp16CannotHold) {
  SampleExperts experts;
  experts.values(3 * 7 + 1)[5] = 1e6f;  // expert 7, up
  const auto graph = Lower(Fp16Plan(), 0, experts.ffns());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const auto weights = Weights(*graph);
  ASSERT_FALSE(weights.ok());
  EXPECT_EQ(weights.status().code(), StatusCode::kNumeric);
  EXPECT_CONTAINS(weights.status().message(), "layer 0, expert 7, up: weight 5 is 1000000");
}

TEST(Lowering, RefusesExpertsThatTheLayerDoesNotHave) {
  SampleExperts experts;
  experts.ffns().resize(7);
  EXPECT_CONTAINS(Lower(Fp16Plan(), 0, experts.ffns()).status().message(), "expert 7");
  EXPECT_FALSE(Lower(Fp16Plan(), 0, {}).ok());  // a dense layer
}

TEST(Lowering, RefusesWeightsOfAnotherShape) {
  SampleExperts experts;
  std::swap(experts.ffns()[3].gate, experts.ffns()[3].down);
  const std::string text = Lower(Fp16Plan(), 0, experts.ffns()).status().message();
  EXPECT_CONTAINS(text, "layer 0, expert 3, gate");
  EXPECT_CONTAINS(text, "[6, 4]");
  EXPECT_CONTAINS(text, "[4, 6]");
}

TEST(Lowering, KeysProgramsByEverythingThatTheirBytesDependOn) {
  const Plan plan = Fp16Plan();
  const LayerPlan& layer = plan.layers[0];
  const std::string key = ProgramKey(plan, layer, layer.programs[0]);
  const auto key_with = [&](auto change) {
    Plan other = plan;
    LayerPlan other_layer = layer;
    PlannedProgram program = layer.programs[0];
    change(other, other_layer, program);
    return ProgramKey(other, other_layer, program);
  };
  EXPECT_NE(key, key_with([](Plan& p, LayerPlan&, PlannedProgram&) { p.model_hash = "x"; }));
  EXPECT_NE(key, key_with([](Plan& p, LayerPlan&, PlannedProgram&) { p.hidden_size = 8; }));
  EXPECT_NE(key, key_with([](Plan&, LayerPlan& l, PlannedProgram&) { l.layer = 1; }));
  EXPECT_NE(key, key_with([](Plan& p, LayerPlan&, PlannedProgram&) { p.activation_limit = 1; }));
  EXPECT_NE(key, key_with([](Plan&, LayerPlan&, PlannedProgram& p) {
              p.form = GraphForm::kGroupedConv;
            }));
  EXPECT_NE(key,
            key_with([](Plan&, LayerPlan&, PlannedProgram& p) { p.experts[0].capacity = 16; }));
  EXPECT_NE(key, key_with([](Plan&, LayerPlan&, PlannedProgram& p) { p.experts.pop_back(); }));
}

TEST(Lowering, KeepsAProgramsKeyWhenOnlyTheRestOfThePlanChanges) {
  Plan plan = Fp16Plan();
  const LayerPlan layer = plan.layers[0];
  const std::string key = ProgramKey(plan, layer, layer.programs[0]);
  plan.chunk_tokens = 64;
  plan.calibration_hash = "other";
  plan.profile_hash = "other";
  plan.layers.pop_back();
  EXPECT_EQ(ProgramKey(plan, layer, layer.programs[0]), key);
}

TEST(Lowering, GivesBucketsTheirCapacitiesAndNames) {
  SampleExperts experts;
  const Plan plan = Fp16Plan();
  const PlannedProgram& program = plan.layers[0].programs[0];
  ASSERT_EQ(program.FunctionCount(), 3);
  const auto functions = LowerProgram(plan, plan.layers[0], program, experts.ffns());
  ASSERT_TRUE(functions.ok()) << functions.status().message();
  ASSERT_EQ(functions->size(), 3u);
  EXPECT_EQ((*functions)[0].name, "main");
  EXPECT_EQ((*functions)[0].inputs[0].shape, Shape({1, kHidden, 1, 64}));
  EXPECT_EQ((*functions)[1].name, "bucket_0");
  EXPECT_EQ((*functions)[1].inputs[0].shape, Shape({1, kHidden, 1, 16}));
  EXPECT_EQ((*functions)[2].name, "bucket_1");
  EXPECT_EQ((*functions)[2].inputs[0].shape, Shape({1, kHidden, 1, 32}));
}

TEST(Lowering, BringsMatricesIntoThePlansFormat) {
  SampleExperts experts;
  Plan plan = Fp16Plan();
  plan.weight_format = WeightFormat::kInt8;
  const auto graph = Lower(plan, 0, experts.ffns());
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(std::ranges::count_if(graph->operations,
                                  [](const Operation& operation) {
                                    return operation.type == "constexpr_blockwise_shift_scale";
                                  }),
            6);
}

TEST(Lowering, KeysTellFormatsAndBucketsApart) {
  Plan plan = Fp16Plan();
  const LayerPlan& layer = plan.layers[0];
  PlannedProgram plain = layer.programs[0];
  plain.smaller_buckets.clear();
  const std::string key = ProgramKey(plan, layer, plain);
  EXPECT_NE(key, ProgramKey(plan, layer, layer.programs[0]));
  plan.weight_format = WeightFormat::kLut4;
  EXPECT_NE(key, ProgramKey(plan, layer, plain));
  // [16] and [32] are buckets of one expert here, and expert 16 with 32 rows there.
  const PlannedProgram bucketed{GraphForm::kDenseChains, {{5, 64}}, {{16}, {32}}};
  const PlannedProgram of_two{GraphForm::kDenseChains, {{5, 64}, {16, 32}}};
  EXPECT_NE(ProgramKey(plan, layer, bucketed), ProgramKey(plan, layer, of_two));
}

}  // namespace
}  // namespace npumoe
