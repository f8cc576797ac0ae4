// For tests only: plain loops in double over [channels][tokens], which know nothing of graphs, and
// how far an attention program in fp16 may be from them.
#pragma once

#include <cmath>
#include <vector>

#include "graph/testing/random_attention.h"
#include "npu/emulator/emulator_testing.h"

namespace npumoe::emulator {

using Doubles = std::vector<double>;

// [out][tokens] = matrix [out][in] * x [in][tokens] + bias
inline Doubles Product(const WeightMatrix& matrix, const WeightData& bias, int64_t out,
                       const Doubles& x, int64_t in) {
  const std::vector<float> weights = npumoe::testing::MaterialisedValues(matrix, out, in);
  const std::vector<float> biases = bias.produce ? npumoe::testing::ProducedHalves(bias, out)
                                                 : std::vector<float>(static_cast<size_t>(out));
  const int64_t tokens = static_cast<int64_t>(x.size()) / in;
  Doubles result;
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t t = 0; t < tokens; ++t) {
      double sum = biases[static_cast<size_t>(o)];
      for (int64_t i = 0; i < in; ++i) {
        sum += double{weights[static_cast<size_t>(o * in + i)]} *
               x[static_cast<size_t>(i * tokens + t)];
      }
      result.push_back(sum);
    }
  }
  return result;
}

// Over runs of `width` channels at each token; gains repeat.
inline void Norm(Doubles& x, int64_t tokens, int64_t width, const WeightData& gain, int64_t gains,
                 double epsilon) {
  const std::vector<float> gamma = npumoe::testing::ProducedHalves(gain, gains);
  const int64_t channels = static_cast<int64_t>(x.size()) / tokens;
  for (int64_t first = 0; first < channels; first += width) {
    for (int64_t t = 0; t < tokens; ++t) {
      double squares = 0;
      for (int64_t c = first; c < first + width; ++c) {
        squares += std::pow(x[static_cast<size_t>(c * tokens + t)], 2);
      }
      const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + epsilon);
      for (int64_t c = first; c < first + width; ++c) {
        x[static_cast<size_t>(c * tokens + t)] *= scale * gamma[static_cast<size_t>(c % gains)];
      }
    }
  }
}

// Channels [first, first + rotary_dim) of every head of `head_dim` turn by angle(token, pair), and
// come out in halves.
template <class Angle>
void RotateHeads(Doubles& x, int64_t tokens, int64_t head_dim, int64_t first, int64_t rotary_dim,
                 RotaryPairs pairs, Angle angle_of) {
  const int64_t half = rotary_dim / 2;
  const int64_t channels = static_cast<int64_t>(x.size()) / tokens;
  const Doubles from = x;
  const bool beside = pairs == RotaryPairs::kSideBySide;
  for (int64_t head = first; head < channels; head += head_dim) {
    for (int64_t pair = 0; pair < half; ++pair) {
      for (int64_t t = 0; t < tokens; ++t) {
        const auto at = [&](int64_t channel) {
          return static_cast<size_t>((head + channel) * tokens + t);
        };
        const double a = from[at(beside ? 2 * pair : pair)];
        const double b = from[at(beside ? 2 * pair + 1 : pair + half)];
        const double angle = angle_of(t, pair);
        x[at(pair)] = a * std::cos(angle) - b * std::sin(angle);
        x[at(pair + half)] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }
}

// Every step rounds to fp16, by at most 2^-11 of its result. Keys and queries see three such steps
// (product, norm or clip, rotation), so that their largest error is about 2e-3 of the largest
// value. Logits here are below 8, and in fp16 a multiple of 2^-8 there: a share may be off by a
// factor of exp(2^-9 + 8 * 2e-3 / sqrt(head_dim)), 0.6%, where the worst cases of all terms meet;
// the sum over keys averages them. 5e-3 of the largest value holds with room; a wrong mask, head or
// angle is off by 10% and more.
inline constexpr double kTolerance = 5e-3;

inline void ExpectClose(const std::vector<float>& actual, const Doubles& expected,
                        const char* what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  ASSERT_GT(largest, 0.05) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], kTolerance * largest) << what << " " << i;
  }
}

}  // namespace npumoe::emulator
