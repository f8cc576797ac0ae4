// Compressed experts on the emulated NPU: what they compute is what experts of the materialised
// fp16 weights compute, bit by bit; what a launch streams is the compressed form.
#include "graph/testing/random_matrices.h"
#include "npu/emulator/emulator_testing.h"

namespace npumoe::emulator {
namespace {

using npumoe::testing::EncodedSlots;
using npumoe::testing::MaterialisedValues;
using npumoe::testing::SourceOfValues;

constexpr npumoe::testing::ExpertSizes kSizes{64, 32};

WeightMatrix Materialised(const WeightMatrix& matrix, int64_t out, int64_t in) {
  return MatrixEncoder::Create(WeightFormat::kF16,
                               SourceOfValues(out, in, MaterialisedValues(matrix, out, in)))
      ->Matrix();
}

Graph GraphOf(GraphForm form, const std::vector<ExpertSlot>& slots) {
  Result<Graph> graph = BuildExpertGraph(form, {kSizes.hidden, kSizes.intermediate}, slots);
  NPUMOE_CHECK(graph.ok());
  return *std::move(graph);
}

std::shared_ptr<const Executable> ExecutableOf(const testing::ScratchFolder& folder,
                                               const Graph& graph) {
  Result<Mlpackage> package = ReadMlpackage(WritePackage(folder, {graph}));
  NPUMOE_CHECK(package.ok());
  return *Executable::Build(package->functions.front(), package->storage);
}

class CompressedExperts : public ::testing::TestWithParam<std::tuple<GraphForm, WeightFormat>> {
 protected:
  const GraphForm form_ = std::get<0>(GetParam());
  const WeightFormat format_ = std::get<1>(GetParam());
};

// Without a device: chips that refuse scales of blocks are no matter here.
TEST_P(CompressedExperts, ComputeWithTheirMaterialisedWeights) {
  const std::vector<ExpertSlot> slots = EncodedSlots(format_, kSizes, {16, 16});
  std::vector<ExpertSlot> plain = slots;
  for (ExpertSlot& slot : plain) {
    slot.gate = Materialised(slot.gate, kSizes.intermediate, kSizes.hidden);
    slot.up = Materialised(slot.up, kSizes.intermediate, kSizes.hidden);
    slot.down = Materialised(slot.down, kSizes.hidden, kSizes.intermediate);
  }
  const Graph graph = GraphOf(form_, slots);
  std::vector<std::vector<float>> inputs;
  for (const TensorSpec& spec : graph.inputs) {
    inputs.push_back(
        RandomValues(spec.shape.elements(), 90 + static_cast<uint32_t>(inputs.size())));
  }
  const auto compressed = RunUnlimited(graph, inputs);
  const auto expected = RunUnlimited(GraphOf(form_, plain), inputs);
  ASSERT_TRUE(compressed.ok()) << compressed.status().message();
  ASSERT_TRUE(expected.ok()) << expected.status().message();
  ASSERT_FALSE(expected->empty());
  EXPECT_EQ(*compressed, *expected);
  const auto& first = expected->front();
  EXPECT_TRUE(std::any_of(first.begin(), first.end(), [](float y) { return y != 0; }));
}

// With a stream so slow that nothing else counts, time is bytes over bandwidth.
TEST_P(CompressedExperts, StreamTheirCompressedBytes) {
  const testing::ScratchFolder folder;
  const auto executable =
      ExecutableOf(folder, GraphOf(form_, EncodedSlots(format_, kSizes, {16, 16})));
  const int64_t bytes = 2 * (2 * WeightBytes(format_, kSizes.intermediate, kSizes.hidden) +
                             WeightBytes(format_, kSizes.hidden, kSizes.intermediate));
  EXPECT_EQ(executable->weight_bytes(), bytes);
  NpuCosts costs = TestProfile().npu;
  costs.stream_gb_per_s.value = 1e-6;  // 1000 bytes a second, 1 a millisecond
  EXPECT_NEAR(executable->Cost(costs, {}).compute_ms, static_cast<double>(bytes), 1e-3);
}

std::string NameOf(const ::testing::TestParamInfo<std::tuple<GraphForm, WeightFormat>>& test) {
  std::string name = std::string(Name(std::get<0>(test.param))) + Name(std::get<1>(test.param));
  std::erase(name, '-');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, CompressedExperts,
                         ::testing::Combine(::testing::Values(GraphForm::kGroupedConv,
                                                              GraphForm::kBatchedMatmul,
                                                              GraphForm::kDenseChains),
                                            ::testing::ValuesIn(npumoe::testing::kAllFormats)),
                         NameOf);

// Graphs of other writers: several fp32 tables along an inner axis.
TEST(MaterialisedWeights, OfForeignShapes) {
  GraphBuilder builder("main");
  const auto x = builder.Input("x", DType::kF16, Shape{1, 4, 1, 1});
  const auto bytes_of = [](std::vector<uint8_t> values) {
    return WeightData{{}, [values](std::span<std::byte> bytes) {
                        std::memcpy(bytes.data(), values.data(), bytes.size());
                        return OkStatus();
                      }};
  };
  std::vector<uint8_t> tables(2 * 256 * 4);  // fp32: table 0 is i / 4, table 1 is -i
  for (size_t i = 0; i < 512; ++i) {
    const float entry = i < 256 ? static_cast<float>(i) / 4 : -static_cast<float>(i - 256);
    std::memcpy(&tables[4 * i], &entry, 4);
  }
  const auto w =
      builder.LutToDense("w", {DType::kU8, Shape{2, 4, 1, 1}, bytes_of({0, 1, 2, 3, 4, 5, 6, 255})},
                         {DType::kF32, Shape{1, 2, 1, 1, 256, 1}, bytes_of(tables)});
  const auto half = builder.Cast("half", w, DType::kF16);
  builder.Output(builder.Add("y", builder.Reshape("r", half, {2, 4, 1, 1}), x));
  const auto outputs = RunUnlimited(*std::move(builder).Finish(), {{0, 0, 0, 0}});
  ASSERT_TRUE(outputs.ok()) << outputs.status().message();
  EXPECT_EQ(outputs->front(), (std::vector<float>{0, 0.25f, -2, -3, 1, 1.25f, -6, -255}));
}

}  // namespace
}  // namespace npumoe::emulator
