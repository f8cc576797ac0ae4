#include "kernels/expert/expert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>

#include "kernels/testing/kernel_test.h"

namespace npumoe {
namespace {

using testing::RandomFloats;
using testing::RandomWeights;
using testing::Weights;

// Experts with their own inputs, outputs and maxima, run by the kernel and by the reference.
struct Experts {
  struct Expert {
    Weights gate, up, down;
    std::vector<float> gate_bias, up_bias, down_bias;
    std::vector<float> in, out, expected;
    float inner_max = -1, output_max = -1, expected_inner_max = -1, expected_output_max = -1;
  };

  struct Options {
    DType gate = DType::kBF16;
    DType up = DType::kBF16;
    DType down = DType::kBF16;
    bool biased = false;
    float clamp_limit = 0;
  };

  void Add(DType dtype, int64_t rows, int64_t hidden, int64_t inner) {
    Add({dtype, dtype, dtype}, rows, hidden, inner);
  }

  void Add(const Options& options, int64_t rows, int64_t hidden, int64_t inner) {
    const uint64_t seed = 10 * experts.size();
    Expert& e = experts.emplace_back();
    // Ranges 1 / sqrt(columns) keep activations near 1, as a trained model does.
    const double hidden_range = 1 / std::sqrt(static_cast<double>(hidden));
    const double inner_range = 1 / std::sqrt(static_cast<double>(inner));
    e.gate = RandomWeights(options.gate, {inner, hidden}, seed + 1, hidden_range);
    e.up = RandomWeights(options.up, {inner, hidden}, seed + 2, hidden_range);
    e.down = RandomWeights(options.down, {hidden, inner}, seed + 3, inner_range);
    SwiGluWeights weights{e.gate.view, e.up.view, e.down.view};
    if (options.biased) {
      weights.gate_bias = e.gate_bias = RandomFloats(static_cast<size_t>(inner), seed + 5);
      weights.up_bias = e.up_bias = RandomFloats(static_cast<size_t>(inner), seed + 6);
      weights.down_bias = e.down_bias = RandomFloats(static_cast<size_t>(hidden), seed + 7);
    }
    weights.clamp_limit = options.clamp_limit;
    e.in = RandomFloats(static_cast<size_t>(rows * hidden), seed + 4, 2.0);
    e.out.assign(e.in.size(), 7.0f);
    e.expected = e.out;
    const ConstMatrix in{e.in.data(), rows, hidden, hidden};
    tasks.push_back(
        {weights, in, {e.out.data(), rows, hidden, hidden}, &e.inner_max, &e.output_max});
    RunExpertReference({weights,
                        in,
                        {e.expected.data(), rows, hidden, hidden},
                        &e.expected_inner_max,
                        &e.expected_output_max});
  }

  std::deque<Expert> experts;
  std::vector<ExpertTask> tasks;
};

// The kernel's error relative to the largest output. gate and up are sums of H products with
// relative error at most H u of sum |x w|, which for random signs is about sqrt(H) times the sum
// itself; the same again over I for down. In all (H sqrt(H) + I sqrt(I)) u, times 4 for the
// spread between the mean and the largest entries. For H = 96 that is 5e-4 of the largest value.
double RelativeBound(const ExpertTask& task) {
  const auto hidden = static_cast<double>(task.in.columns);
  const auto inner = static_cast<double>(task.weights.gate.shape[0]);
  return 4 * (hidden * std::sqrt(hidden) + inner * std::sqrt(inner)) * testing::kUnitRoundoff;
}

void ExpectEqualsReference(const Experts& all) {
  for (size_t i = 0; i < all.experts.size(); ++i) {
    SCOPED_TRACE(::testing::Message() << "expert " << i);
    const Experts::Expert& e = all.experts[i];
    const double relative = RelativeBound(all.tasks[i]);
    testing::ExpectWithin(e.out, e.expected, relative * e.expected_output_max);
    EXPECT_NEAR(e.output_max, e.expected_output_max, relative * e.expected_output_max);
    EXPECT_NEAR(e.inner_max, e.expected_inner_max, relative * e.expected_inner_max);
  }
}

TEST(RunExperts, EqualsTheReferenceForEveryTypeTargetAndUnequalLoads) {
  ThreadPool pool(2);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    Experts all;
    for (const int64_t rows : {1, 7, 33, 2, 64}) all.Add(dtype, rows, 96, 80);
    testing::OnEveryTarget([&] {
      RunExperts(all.tasks, pool);
      ExpectEqualsReference(all);
    });
  }
}

TEST(RunExperts, EqualsTheReferenceForOddShapesOfDifferentExperts) {
  ThreadPool pool(2);
  Experts all;
  all.Add(DType::kBF16, 5, 33, 45);
  all.Add(DType::kF16, 3, 70, 131);
  all.Add(DType::kF32, 9, 17, 3);
  all.Add(DType::kBF16, 0, 33, 45);
  testing::OnEveryTarget([&] {
    RunExperts(all.tasks, pool);
    ExpectEqualsReference(all);
  });
}

// As gpt-oss: many gates and ups lie beyond a limit of 0.5.
TEST(RunExperts, EqualsTheReferenceWithBiasesAndTheClampedActivation) {
  ThreadPool pool(2);
  Experts all;
  for (const float limit : {0.0f, 7.0f, 0.5f}) {
    for (const int64_t rows : {1, 9}) {
      all.Add({.biased = true, .clamp_limit = limit}, rows, 96, 71);
    }
  }
  testing::OnEveryTarget([&] {
    RunExperts(all.tasks, pool);
    ExpectEqualsReference(all);
  });
}

// A shared expert is wider than the routed ones.
TEST(RunExperts, EqualsTheReferenceForExpertsOfOneCallWithDifferentWidths) {
  ThreadPool pool(2);
  Experts all;
  for (const int64_t inner : {64, 64, 640, 64}) all.Add(DType::kBF16, 5, 96, inner);
  testing::OnEveryTarget([&] {
    RunExperts(all.tasks, pool);
    ExpectEqualsReference(all);
  });
}

TEST(RunExperts, EqualsTheReferenceForQuantizedWeights) {
  ThreadPool pool(2);
  Experts all;
  for (const DType dtype : testing::kQuantizedTypes) {
    for (const int64_t rows : {1, 5}) all.Add(dtype, rows, 512, 256);
  }
  // As files mix them: a better type for `down`.
  all.Add({.gate = DType::kQ4_K, .up = DType::kQ4_K, .down = DType::kQ6_K}, 3, 256, 256);
  all.Add({.gate = DType::kQ8_0, .up = DType::kBF16, .down = DType::kF16}, 3, 96, 32);
  testing::OnEveryTarget([&] {
    RunExperts(all.tasks, pool);
    ExpectEqualsReference(all);
  });
}

TEST(RunExperts, EqualsTheReferenceWhereTheWeightsOfOneExpertHaveDifferentTypes) {
  ThreadPool pool(2);
  Experts all;
  constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kBF16};
  for (const DType gate : kTypes) {
    for (const DType up : kTypes) all.Add({.gate = gate, .up = up, .down = gate}, 7, 70, 45);
  }
  testing::OnEveryTarget([&] {
    RunExperts(all.tasks, pool);
    ExpectEqualsReference(all);
  });
}

TEST(RunExperts, GivesTheSameBitsForOneExpertAndForMany) {
  ThreadPool one(1);
  ThreadPool three(3);
  Experts all;
  for (const int64_t rows : {4, 1, 40}) all.Add(DType::kBF16, rows, 64, 300);
  RunExperts(all.tasks, three);
  for (size_t i = 0; i < all.tasks.size(); ++i) {
    const std::vector<float> together = all.experts[i].out;
    RunExperts(std::span(all.tasks).subspan(i, 1), one);
    EXPECT_EQ(all.experts[i].out, together) << "expert " << i;
  }
}

TEST(RunExperts, CutsManyRowsIntoWavesWithoutChangingResults) {
  ThreadPool pool(2);
  Experts all;
  // Two experts whose packed rows (32 floats each, however few are used) exceed one wave's scratch.
  for (int i = 0; i < 2; ++i) all.Add(DType::kBF16, 70'000, 2, 3);
  RunExperts(all.tasks, pool);
  ExpectEqualsReference(all);
}

}  // namespace
}  // namespace npumoe
