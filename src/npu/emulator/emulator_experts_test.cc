// Expert programs of every form against plain loops.
#include <cmath>

#include "npu/emulator/emulator_testing.h"

namespace npumoe::emulator {
namespace {

using npumoe::testing::ExpertSizes;
using npumoe::testing::RandomSlots;

constexpr ExpertSizes kSizes{48, 40};
constexpr float kLimit = 0.5f;  // small, so that many of the values below are clamped

enum class Experts { kPlain, kBiased, kClamped };

// kClamped are those of gpt-oss: biases and the clamped activation.
std::vector<ExpertSlot> Slots(Experts experts, const std::vector<int64_t>& capacities) {
  std::vector<ExpertSlot> slots = RandomSlots(kSizes, capacities);
  if (experts == Experts::kPlain) return slots;
  for (ExpertSlot& slot : slots) {
    const auto seed = static_cast<uint32_t>(1000 + 100 * slot.expert);
    slot.gate_bias = npumoe::testing::RandomHalves(seed, 0.4f);
    slot.up_bias = npumoe::testing::RandomHalves(seed + 1, 0.4f);
    slot.down_bias = npumoe::testing::RandomHalves(seed + 2, 0.4f);
  }
  return slots;
}

float LimitOf(Experts experts) { return experts == Experts::kClamped ? kLimit : 0; }

float Activation(float gate, float up, float limit) {
  if (limit == 0) return RoundF16(double{RoundF16(gate / (1 + std::exp(-double{gate})))} * up);
  const float g = std::min(gate, limit);
  const float u = RoundF16(double{std::clamp(up, -limit, limit)} + 1);
  const float scaled = RoundF16(double{RoundF16(1.702)} * g);
  const float sigmoid = RoundF16(1 / (1 + std::exp(-double{scaled})));
  return RoundF16(double{u} * RoundF16(double{g} * sigmoid));
}

// x [rows][hidden] -> y, with every named tensor rounded to fp16 as the graph declares it.
std::vector<float> ReferenceExpert(const ExpertSlot& slot, const std::vector<float>& x,
                                   float limit = 0) {
  const int64_t h = kSizes.hidden, inner = kSizes.intermediate;
  const std::vector<float> gate = WeightFloats(slot.gate.values, h * inner);
  const std::vector<float> up = WeightFloats(slot.up.values, h * inner);
  const std::vector<float> down = WeightFloats(slot.down.values, h * inner);
  const auto bias_of = [](const WeightData& bias, int64_t size) {
    return bias.produce ? WeightFloats(bias, size) : std::vector<float>(static_cast<size_t>(size));
  };
  const std::vector<float> gate_bias = bias_of(slot.gate_bias, inner);
  const std::vector<float> up_bias = bias_of(slot.up_bias, inner);
  const std::vector<float> down_bias = bias_of(slot.down_bias, h);
  const auto product = [](const std::vector<float>& w, const std::vector<float>& bias, int64_t row,
                          const float* in, int64_t n) {
    double sum = bias[static_cast<size_t>(row)];
    for (int64_t i = 0; i < n; ++i) sum += double{w[static_cast<size_t>(row * n + i)]} * in[i];
    return RoundF16(sum);
  };
  std::vector<float> y;
  for (size_t first = 0; first < x.size(); first += static_cast<size_t>(h)) {
    std::vector<float> act;
    for (int64_t i = 0; i < inner; ++i) {
      act.push_back(Activation(product(gate, gate_bias, i, &x[first], h),
                               product(up, up_bias, i, &x[first], h), limit));
    }
    for (int64_t i = 0; i < h; ++i) y.push_back(product(down, down_bias, i, act.data(), inner));
  }
  return y;
}

// [rows, hidden] <-> [hidden, rows]
std::vector<float> Transposed(const std::vector<float>& values, int64_t columns) {
  const auto width = static_cast<size_t>(columns);
  const size_t rows = values.size() / width;
  std::vector<float> result(values.size());
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < width; ++c) result[c * rows + r] = values[r * width + c];
  }
  return result;
}

// Tolerance: three roundings to fp16 follow one another (gate, silu, act) before the last one; the
// order of additions may move each by one unit in the last place (2^-10), and such moves partly
// cancel in the sum over the intermediate axis. 2e-3 of the largest value is two such units.
void ExpectClose(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  float largest = 0;
  for (float value : expected) largest = std::max(largest, std::abs(value));
  ASSERT_GT(largest, 0.01f);
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], 2e-3f * largest) << i;
  }
}

Graph MakeGraph(GraphForm form, const std::vector<ExpertSlot>& slots, float limit = 0) {
  return *BuildExpertGraph(form, {kSizes.hidden, kSizes.intermediate, limit}, slots);
}

class EmulatedExperts : public ::testing::TestWithParam<Experts> {};

TEST_P(EmulatedExperts, OfFormCEqualPlainLoops) {
  const std::vector<ExpertSlot> slots = Slots(GetParam(), {16, 48, 32});
  const float limit = LimitOf(GetParam());
  std::vector<std::vector<float>> rows, inputs;
  for (const ExpertSlot& slot : slots) {
    rows.push_back(
        RandomValues(slot.capacity * kSizes.hidden, 7u + static_cast<uint32_t>(slot.expert)));
    inputs.push_back(Transposed(rows.back(), kSizes.hidden));
  }
  const auto outputs = RunGraph(MakeGraph(GraphForm::kDenseChains, slots, limit), inputs);
  ASSERT_EQ(outputs.size(), 3u);
  for (size_t i = 0; i < slots.size(); ++i) {
    ExpectClose(Transposed(outputs[i], slots[i].capacity),
                ReferenceExpert(slots[i], rows[i], limit));
  }
}

TEST_P(EmulatedExperts, OfFormAEqualPlainLoops) {
  const std::vector<ExpertSlot> slots = Slots(GetParam(), {32, 32, 32});
  const float limit = LimitOf(GetParam());
  std::vector<float> joined;  // [G * H, C]
  std::vector<std::vector<float>> rows;
  for (uint32_t g = 0; g < 3; ++g) {
    rows.push_back(RandomValues(32 * kSizes.hidden, 20 + g));
    const std::vector<float> channels = Transposed(rows.back(), kSizes.hidden);
    joined.insert(joined.end(), channels.begin(), channels.end());
  }
  const auto outputs = RunGraph(MakeGraph(GraphForm::kGroupedConv, slots, limit), {joined});
  ASSERT_EQ(outputs.size(), 1u);
  const auto part = static_cast<ptrdiff_t>(32 * kSizes.hidden);
  for (ptrdiff_t g = 0; g < 3; ++g) {
    const std::vector<float> own(outputs[0].begin() + g * part,
                                 outputs[0].begin() + (g + 1) * part);
    ExpectClose(Transposed(own, 32), ReferenceExpert(slots[static_cast<size_t>(g)],
                                                     rows[static_cast<size_t>(g)], limit));
  }
}

TEST_P(EmulatedExperts, OfFormBEqualPlainLoops) {
  const std::vector<ExpertSlot> slots = Slots(GetParam(), {32, 32});
  const float limit = LimitOf(GetParam());
  const std::vector<float> x = RandomValues(2 * 32 * kSizes.hidden, 30);
  const auto outputs = RunGraph(MakeGraph(GraphForm::kBatchedMatmul, slots, limit), {x});
  ASSERT_EQ(outputs.size(), 1u);
  const auto part = static_cast<ptrdiff_t>(32 * kSizes.hidden);
  for (ptrdiff_t g = 0; g < 2; ++g) {
    ExpectClose({outputs[0].begin() + g * part, outputs[0].begin() + (g + 1) * part},
                ReferenceExpert(slots[static_cast<size_t>(g)],
                                {x.begin() + g * part, x.begin() + (g + 1) * part}, limit));
  }
}

std::string NameOf(const ::testing::TestParamInfo<Experts>& test) {
  switch (test.param) {
    case Experts::kPlain:
      return "Plain";
    case Experts::kBiased:
      return "Biased";
    case Experts::kClamped:
      return "Clamped";
  }
  return "";
}

INSTANTIATE_TEST_SUITE_P(All, EmulatedExperts,
                         ::testing::Values(Experts::kPlain, Experts::kBiased, Experts::kClamped),
                         NameOf);

TEST(EmulatorExperts, GiveZerosForPaddedRows) {
  const std::vector<ExpertSlot> slots = RandomSlots(kSizes, {32});
  std::vector<float> rows = RandomValues(32 * kSizes.hidden, 40);
  std::fill(rows.begin() + 20 * kSizes.hidden, rows.end(), 0.0f);
  const auto outputs =
      RunGraph(MakeGraph(GraphForm::kDenseChains, slots), {Transposed(rows, kSizes.hidden)});
  const std::vector<float> y = Transposed(outputs[0], 32);
  for (auto it = y.begin() + 20 * kSizes.hidden; it != y.end(); ++it) ASSERT_EQ(*it, 0.0f);
}

TEST(EmulatorExperts, DoNotDependOnTheNumberOfThreads) {
  const std::vector<ExpertSlot> slots = RandomSlots(kSizes, {64, 16});
  const Graph graph = MakeGraph(GraphForm::kDenseChains, slots);
  const std::vector<std::vector<float>> inputs = {RandomValues(64 * kSizes.hidden, 50),
                                                  RandomValues(16 * kSizes.hidden, 51)};
  EXPECT_EQ(RunGraph(graph, inputs, 1), RunGraph(graph, inputs, 3));
}

}  // namespace
}  // namespace npumoe::emulator
