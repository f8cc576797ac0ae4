// Inverse frequencies of plain and scaled rotary embeddings, step by step in fp32 where the
// Hugging Face implementation computes in fp32: at position p an error of f_i counts p times.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "kernels/rope/rope.h"

namespace npumoe {
namespace {

// theta^(2i / d), i < d / 2.
std::vector<float> Wavelengths(int rotary_dim, double theta) {
  NPUMOE_CHECK(rotary_dim > 0 && rotary_dim % 2 == 0);
  std::vector<float> powers(static_cast<size_t>(rotary_dim / 2));
  for (size_t i = 0; i < powers.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    powers[i] = static_cast<float>(std::pow(theta, double{exponent}));
  }
  return powers;
}

// The (fractional) pair that turns `rotations` times within the original context.
double PairThatTurns(double rotations, int rotary_dim, double theta, double max_positions) {
  return rotary_dim * std::log(max_positions / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(theta));
}

struct Ramp {
  float begin = 0;
  float length = 0;

  // 0 before the ramp, 1 after it.
  float At(size_t i) const {
    return std::clamp((static_cast<float>(i) - begin) / length, 0.0f, 1.0f);
  }
};

Ramp YarnRamp(int rotary_dim, double theta, const YarnParameters& yarn) {
  double low = PairThatTurns(yarn.beta_fast, rotary_dim, theta, yarn.original_max_positions);
  double high = PairThatTurns(yarn.beta_slow, rotary_dim, theta, yarn.original_max_positions);
  if (yarn.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  // The reference bounds pairs by the number of elements; results depend on it.
  high = std::min(high, static_cast<double>(rotary_dim - 1));
  if (low == high) high += 0.001;  // a step, as the reference makes it
  return {static_cast<float>(low), static_cast<float>(high - low)};
}

}  // namespace

std::vector<float> RopeInverseFrequencies(int rotary_dim, double theta) {
  std::vector<float> frequencies = Wavelengths(rotary_dim, theta);
  for (float& f : frequencies) f = 1.0f / f;
  return frequencies;
}

std::vector<float> YarnInverseFrequencies(int rotary_dim, double theta,
                                          const YarnParameters& yarn) {
  NPUMOE_CHECK(yarn.factor > 0 && yarn.original_max_positions > 0 && theta > 1);
  NPUMOE_CHECK(yarn.beta_fast > 0 && yarn.beta_slow > 0);
  const Ramp ramp = YarnRamp(rotary_dim, theta, yarn);
  const auto factor = static_cast<float>(yarn.factor);
  std::vector<float> frequencies = Wavelengths(rotary_dim, theta);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float wavelength = frequencies[i];
    const float kept = 1.0f - ramp.At(i);
    frequencies[i] = 1.0f / (factor * wavelength) * (1.0f - kept) + 1.0f / wavelength * kept;
  }
  return frequencies;
}

std::vector<float> LongRopeInverseFrequencies(int rotary_dim, double theta,
                                              std::span<const double> factors) {
  std::vector<float> frequencies = Wavelengths(rotary_dim, theta);
  NPUMOE_CHECK(factors.size() == frequencies.size());
  for (size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = 1.0f / (static_cast<float>(factors[i]) * frequencies[i]);
  }
  return frequencies;
}

}  // namespace npumoe
