// Expert programs of every form and weight format on target CPU against the emulator.
#include <string>

#include "graph/testing/random_matrices.h"
#include "npu/openvino/openvino_testing.h"

namespace npumoe::openvino {
namespace {

using npumoe::testing::EncodedSlots;
using npumoe::testing::ExpertSizes;
using npumoe::testing::kAllFormats;
using npumoe::testing::RandomHalves;

constexpr ExpertSizes kSizes{64, 96};
constexpr float kClampLimit = 0.5f;  // small, so that many values are clamped

// The emulator rounds gate, silu and act to fp16, target CPU only the output. Three roundings of
// half a unit in the last place (2^-11) follow one another and partly cancel in the sum over the
// intermediate axis; the output's own is the fourth: 4 * 2^-11 = 2e-3.
constexpr float kTolerance = 2e-3f;

enum class Experts { kPlain, kBiased, kClamped };  // kClamped, those of gpt-oss, have biases, too

struct Case {
  GraphForm form;
  WeightFormat format;
  Experts experts;
};

std::string NameOf(const ::testing::TestParamInfo<Case>& test) {
  const char* kinds[] = {"Plain", "Biased", "Clamped"};
  std::string name = Name(test.param.form);
  for (const char c : std::string(Name(test.param.format))) name += c == '-' ? '_' : c;
  return name + kinds[static_cast<int>(test.param.experts)];
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const GraphForm form :
       {GraphForm::kGroupedConv, GraphForm::kBatchedMatmul, GraphForm::kDenseChains}) {
    for (const WeightFormat format : kAllFormats) cases.push_back({form, format, Experts::kPlain});
    cases.push_back({form, WeightFormat::kF16, Experts::kBiased});
    cases.push_back({form, WeightFormat::kF16, Experts::kClamped});
    cases.push_back({form, WeightFormat::kInt8, Experts::kClamped});
  }
  return cases;
}

Graph GraphOf(const Case& wanted) {
  const bool chains = wanted.form == GraphForm::kDenseChains;
  auto slots =
      EncodedSlots(wanted.format, kSizes,
                   chains ? std::vector<int64_t>{16, 48, 32} : std::vector<int64_t>(3, 32));
  for (ExpertSlot& slot : slots) {
    if (wanted.experts == Experts::kPlain) break;
    const auto seed = static_cast<uint32_t>(1000 + 100 * slot.expert);
    slot.gate_bias = RandomHalves(seed, 0.4f);
    slot.up_bias = RandomHalves(seed + 1, 0.4f);
    slot.down_bias = RandomHalves(seed + 2, 0.4f);
  }
  ExpertProgramShape shape{kSizes.hidden, kSizes.intermediate};
  if (wanted.experts == Experts::kClamped) shape.clamp_limit = kClampLimit;
  return *BuildExpertGraph(wanted.form, shape, slots);
}

class OpenvinoExperts : public OpenvinoTest, public ::testing::WithParamInterface<Case> {};

TEST_P(OpenvinoExperts, EqualTheEmulator) {
  const Graph graph = GraphOf(GetParam());
  const std::vector<Floats> inputs = RandomInputs(graph, 11);
  ThreadPool pool(2);
  const auto expected = emulator::RunUnlimited(graph, inputs);
  ASSERT_TRUE(expected.ok()) << expected.status().message();
  ExpectClose(RunOn(*OpenCpu(pool), graph, inputs), *expected, kTolerance);
}

INSTANTIATE_TEST_SUITE_P(All, OpenvinoExperts, ::testing::ValuesIn(Cases()), NameOf);

class OpenvinoBuckets : public OpenvinoTest {};

// The functions of one package have the same weights; each computes its own rows of the same input.
TEST_F(OpenvinoBuckets, OfOnePackageGiveTheSameRows) {
  const ScratchFolder folder;
  std::vector<Graph> functions;
  for (const int64_t rows : {16, 64}) {
    functions.push_back(npumoe::testing::ExpertGraph(GraphForm::kBatchedMatmul, kSizes,
                                                     {rows, rows}, "rows_" + std::to_string(rows)));
  }
  const std::filesystem::path package = WritePackage(folder, functions);
  ThreadPool pool(2);
  const auto device = OpenCpu(pool);
  const auto wide = RandomValues(2 * 64 * kSizes.hidden, 3);
  Floats narrow;
  const auto width = static_cast<size_t>(kSizes.hidden);
  for (size_t expert = 0; expert < 2; ++expert) {
    const auto first = wide.begin() + static_cast<std::ptrdiff_t>(expert * 64 * width);
    narrow.insert(narrow.end(), first, first + static_cast<std::ptrdiff_t>(16 * width));
  }
  const auto run = [&](const std::string& function, const Floats& x) {
    Bound bound(*device->Load(package, function));
    StoreFloats(bound.program->inputs()[0], x, bound.inputs[0]->bytes());
    EXPECT_TRUE(device->Wait(*bound.Submit(*device), kLongMs).ok());
    return LoadFloats(bound.program->outputs()[0], bound.outputs[0]->bytes());
  };
  const Floats small = run("rows_16", narrow), large = run("rows_64", wide);
  for (size_t i = 0; i < small.size(); ++i) {
    const size_t expert = i / (16 * width);
    // fp32 sums in another order, then fp16: at most one unit in the last place.
    const float other = large[expert * 64 * width + i % (16 * width)];
    ASSERT_NEAR(small[i], other, 0x1p-10f * std::max(1.0f, std::abs(other))) << i;
  }
}

}  // namespace
}  // namespace npumoe::openvino
