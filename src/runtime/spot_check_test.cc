// How far the weight formats' rounding takes a row of random experts, and that the limits lie well
// above it and below what a wrong row differs by.
#include "runtime/spot_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "graph/builder.h"
#include "graph/weights/declare_matrix.h"
#include "graph/weights/materialised.h"
#include "graph/weights/matrix_encoder.h"
#include "kernels/expert/expert.h"
#include "runtime/conformance/conformance_case.h"
#include "runtime/conformance/conformance_values.h"
#include "runtime/layer.h"
#include "runtime/prefill_timeline.h"
#include "runtime/row_error.h"
#include "runtime/test_npu.h"

namespace npumoe {
namespace {

constexpr int64_t kRows = 64;

struct RandomExpert {
  int64_t hidden, inner;
};
constexpr int64_t kSmallestUsual = 256;  // channels; smaller ones pass the limits now and then
constexpr RandomExpert kExperts[] = {{64, 32}, {256, 512}, {1024, 352}, {2048, 768}};

// How values of weights are spread: normal, or with a tail as trained weights have, one in a
// hundred four times as large.
enum class Spread { kNormal, kTail };

float WeightAt(Spread spread, uint64_t seed, int64_t index, int64_t in) {
  const bool is_large = spread == Spread::kTail && (index * 2654435761u >> 7) % 100 == 0;
  return SeededNormal(seed, index) * (is_large ? 4.0f : 1.0f) / std::sqrt(static_cast<float>(in));
}

struct Matrix32 {
  std::vector<float> values;
  int64_t out, in;
  TensorView view() const {
    return {DType::kF32, {out, in}, reinterpret_cast<const std::byte*>(values.data())};
  }
};

Matrix32 RandomMatrix(Spread spread, int64_t out, int64_t in, uint64_t seed) {
  Matrix32 matrix{std::vector<float>(static_cast<size_t>(out * in)), out, in};
  for (size_t i = 0; i < matrix.values.size(); ++i) {
    matrix.values[i] = WeightAt(spread, seed, static_cast<int64_t>(i), in);
  }
  return matrix;
}

std::vector<float> Run(const TensorView& gate, const TensorView& up, const TensorView& down,
                       ThreadPool& pool) {
  const int64_t hidden = gate.shape[1];
  const std::vector<float> x = SeededHalves(kRows * hidden, 7, 1);
  std::vector<float> y(x.size());
  ExpertTask task;
  task.weights = {.gate = gate, .up = up, .down = down};
  task.in = {x.data(), kRows, hidden, hidden};
  task.out = {y.data(), kRows, hidden, hidden};
  RunExperts({&task, 1}, pool);
  return y;
}

RowsChecked ErrorOfRow(std::span<const float> values, std::span<const float> expected) {
  std::vector<uint16_t> halves;
  for (const float value : values) halves.push_back(F16FromF32(value));
  RowError error;
  error.Add({halves.data(), 1, OutputRow::Layout::kF16Row}, expected);
  return {error.Relative(), error.RootMeanSquare()};
}

// As a program holds it.
std::vector<uint16_t> HalvesOfMatrix(const WeightMatrix& matrix, MatrixShape shape) {
  GraphBuilder builder("main");
  const auto x = builder.Input("x", DType::kF16, Shape{1, shape.in, 1, 32});
  builder.Output(builder.Conv("y", x, DeclareConvWeight(builder, "w", matrix, shape, 1),
                              {.groups = 1, .bias = std::nullopt}));
  return *HalvesOf(*std::move(builder).Finish(), "w");
}

struct Measured {
  RowsChecked worst;         // of all rows
  double mean = 0;           // of the root mean squares
  RowsChecked of_other_row;  // the smallest: what another row's answer differs by
};

Measured Measure(WeightFormat format, Spread spread, const RandomExpert& size, ThreadPool& pool) {
  const Matrix32 gate = RandomMatrix(spread, size.inner, size.hidden, 1);
  const Matrix32 up = RandomMatrix(spread, size.inner, size.hidden, 2);
  const Matrix32 down = RandomMatrix(spread, size.hidden, size.inner, 3);
  const auto rounded = [&](const Matrix32& matrix) {
    const auto source = SourceOf(matrix.view(), "matrix");
    const auto encoder = MatrixEncoder::Create(format, *source);
    NPUMOE_CHECK(encoder.ok());
    return HalvesOfMatrix(encoder->Matrix(), {matrix.out, matrix.in});
  };
  const auto g = rounded(gate), u = rounded(up), d = rounded(down);
  const std::vector<float> exact = Run(gate.view(), up.view(), down.view(), pool);
  const std::vector<float> device = Run(ViewOf(g, {gate.out, gate.in}), ViewOf(u, {up.out, up.in}),
                                        ViewOf(d, {down.out, down.in}), pool);
  Measured measured;
  measured.of_other_row = {10, 10};
  const auto row = [&](const std::vector<float>& values, int64_t r) {
    return std::span(values).subspan(static_cast<size_t>(r * size.hidden),
                                     static_cast<size_t>(size.hidden));
  };
  for (int64_t r = 0; r < kRows; ++r) {
    const RowsChecked error = ErrorOfRow(row(device, r), row(exact, r));
    measured.mean += error.root_mean_square / kRows;
    measured.worst.relative = std::max(measured.worst.relative, error.relative);
    measured.worst.root_mean_square =
        std::max(measured.worst.root_mean_square, error.root_mean_square);
    const RowsChecked other = ErrorOfRow(row(device, (r + 1) % kRows), row(exact, r));
    RowsChecked& least = measured.of_other_row;
    least.relative = std::min(least.relative, other.relative);
    least.root_mean_square = std::min(least.root_mean_square, other.root_mean_square);
  }
  return measured;
}

class SpotCheckLimits : public testing::TestWithParam<WeightFormat> {};

TEST_P(SpotCheckLimits, LieAboveTheRoundingAndBelowAnotherRow) {
  const WeightFormat format = GetParam();
  ThreadPool pool(2);
  for (const Spread spread : {Spread::kNormal, Spread::kTail}) {
    for (const RandomExpert& size : kExperts) {
      const Measured measured = Measure(format, spread, size, pool);
      printf(
          "%-13s %s %4d x %3d: root mean square %.4f, largest %.4f; relative %.4f; another row "
          "%.2f\n",
          Name(format), spread == Spread::kNormal ? "normal" : "tail  ",
          static_cast<int>(size.hidden), static_cast<int>(size.inner), measured.mean,
          measured.worst.root_mean_square, measured.worst.relative,
          measured.of_other_row.root_mean_square);
      EXPECT_FALSE(IsRounding(format, measured.of_other_row));
      if (size.hidden < kSmallestUsual) continue;
      EXPECT_TRUE(IsRounding(format, {kSpotCheckMargin * measured.worst.relative,
                                      kSpotCheckMargin * measured.worst.root_mean_square}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, SpotCheckLimits, testing::ValuesIn(kEveryFormat),
                         [](const auto& test) {
                           std::string name = Name(test.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// A launch of a program in a coarse format, whose rows are looked at as dispatch does.
class RowsInACoarseFormat : public testing::Test {
 protected:
  static constexpr int64_t kTokens = 8;

  RowsInACoarseFormat() : bench_("qwen3-moe", {}), ids_(kTokens) {
    bench_.plan.weight_format = WeightFormat::kLut4;
    executor_ = bench_.Load();
    launch_.function = executor_->BucketsOf(0, 0).front();
    launch_.launch.function = &launch_.function->loaded();
    launch_.launch.purpose = Launch::Purpose::kVerify;
    std::iota(ids_.begin(), ids_.end(), 0);
    launch_.slots.assign(launch_.function->planned().experts.size(), {});
    launch_.slots[0] = ids_;
    hidden_ = SeededHalves(kTokens * bench_.plan.hidden_size, 5, 1);
    Run();
  }
  ~RowsInACoarseFormat() override { executor_->launches().Release(launch_.launch); }

  void Run() {
    ThreadPool this_thread(1);
    PrefillTimeline timeline;
    ASSERT_TRUE(executor_->launches().AcquireBuffers(launch_.launch));
    for (size_t slot = 0; slot < launch_.slots.size(); ++slot) {
      launch_.function->Gather(static_cast<int>(slot), Hidden(), launch_.slots[slot], 1,
                               launch_.launch.inputs, this_thread);
    }
    launch_.function->RowsPerInput(launch_.slots, launch_.launch.rows);
    executor_->launches().Submit(launch_.launch, timeline);
    executor_->launches().Await(launch_.launch, timeline);
    ASSERT_EQ(launch_.launch.state, Launch::State::kDone);
  }
  ConstMatrix Hidden() const {
    return {hidden_.data(), kTokens, bench_.plan.hidden_size, bench_.plan.hidden_size};
  }
  bool IsRightAt(const RowsChecked& error) {
    KvCache cache(1, {1, 1}, 1);  // of no interest here
    LayerContext context(*bench_.model, bench_.pool, cache, nullptr);
    return IsRight({context, bench_.plan, Hidden(), 1}, launch_, {4, 1}, error);
  }

  NpuBench bench_;
  std::vector<int32_t> ids_;
  std::vector<float> hidden_;
  std::unique_ptr<NpuExecutor> executor_;
  ExpertLaunch launch_;
};

TEST_F(RowsInACoarseFormat, AreComputedAgainWhereTheyAreUnusual) {
  const RowsChecked unusual{1, 0.7};
  ASSERT_FALSE(IsRounding(WeightFormat::kLut4, unusual));
  EXPECT_TRUE(IsRightAt(unusual));
}

TEST_F(RowsInACoarseFormat, ThatAreWrongAreNotRightTheSecondTime) {
  for (DeviceBuffer* output : launch_.launch.outputs) {
    auto* values = reinterpret_cast<uint16_t*>(output->bytes().data());
    std::reverse(values, values + output->bytes().size() / 2);
  }
  EXPECT_FALSE(IsRightAt({1, 0.7}));
}

}  // namespace
}  // namespace npumoe
