#include "graph/attention_parts.h"

#include <cmath>
#include <vector>

namespace npumoe {

using Value = GraphBuilder::Value;

Value SafeRmsNorm::Write(GraphBuilder& builder, const Value& x, int axis,
                         const Value& gamma) const {
  const auto named = [this](const char* part) { return name + "_" + part; };
  const Value root = builder.Floats(named("root_epsilon"), DType::kF16, {}, {std::sqrt(epsilon)});
  const Value largest =
      builder.ReduceMax(named("largest"), builder.Abs(named("abs"), x), {axis}, ReducedAxes::kKept);
  const Value m = builder.Maximum(named("unit"), largest, root);
  const Value u = builder.RealDiv(named("scaled"), x, m);
  const Value mean = builder.ReduceMean(named("mean"), builder.Square(named("squares"), u), {axis},
                                        ReducedAxes::kKept);
  const Value root_over_m = builder.RealDiv(named("root_scaled"), root, m);
  const Value sum = builder.Add(named("sum"), mean, builder.Square(named("epsilon"), root_over_m));
  const Value normed = builder.Mul(named("normed"), u, builder.Rsqrt(named("rsqrt"), sum, 0));
  return builder.Mul(name, normed, gamma);
}

RotaryTables::RotaryTables(GraphBuilder& builder, const Value& cos, const Value& sin,
                           RotaryPairs pairs)
    : pairs_(pairs) {
  const auto rotary = static_cast<int32_t>(cos.shape[1]);
  const auto tokens = static_cast<int32_t>(cos.shape[3]);
  half_ = rotary / 2;
  const auto halves = [&](const std::string& name, const Value& table) {
    const Value of_heads = builder.Reshape(name + "_of_heads", table, {1, 1, rotary, tokens});
    std::vector<Value> parts = builder.Split(name + "_half", of_heads, {half_, half_}, 2);
    parts.resize(2);  // empty after an error of the builder
    return parts;
  };
  const std::vector<Value> c = halves("cos", cos);
  const std::vector<Value> s = halves("sin", sin);
  cos_a_ = c[0];
  cos_b_ = c[1];
  sin_a_ = s[0];
  sin_b_ = s[1];
}

int32_t RotaryTables::RestOf(const Value& heads) const {
  return static_cast<int32_t>(heads.shape.rank() == 4 ? heads.shape[2] : 0) - 2 * half_;
}

std::vector<Value> RotaryTables::Halves(GraphBuilder& builder, const std::string& name,
                                        const Value& heads) const {
  std::vector<int32_t> lengths = {half_, half_};
  if (const int32_t rest = RestOf(heads); rest > 0) lengths.push_back(rest);
  std::vector<Value> parts = builder.Split(name + "_part", heads, lengths, 2);
  parts.resize(lengths.size());
  return parts;
}

// As [1, heads * half, 2, tokens] the pairs of all heads stand one after another: the same bytes,
// and one split takes them apart.
std::vector<Value> RotaryTables::Neighbours(GraphBuilder& builder, const std::string& name,
                                            const Value& heads) const {
  if (heads.shape.rank() != 4) return {{}, {}};  // after an error of the builder
  const auto count = static_cast<int32_t>(heads.shape[1]);
  const auto tokens = static_cast<int32_t>(heads.shape[3]);
  std::vector<Value> turning = {heads};
  if (const int32_t rest = RestOf(heads); rest > 0) {
    turning = builder.Split(name + "_turning", heads, {2 * half_, rest}, 2);
    turning.resize(2);
  }
  const Value pairs = builder.Reshape(name + "_pairs", turning[0], {1, count * half_, 2, tokens});
  std::vector<Value> parts = builder.Split(name + "_of_pairs", pairs, {1, 1}, 2);
  parts.resize(2);
  parts[0] = builder.Reshape(name + "_part_0", parts[0], {1, count, half_, tokens});
  parts[1] = builder.Reshape(name + "_part_1", parts[1], {1, count, half_, tokens});
  if (turning.size() > 1) parts.push_back(turning[1]);
  return parts;
}

Value RotaryTables::Rotate(GraphBuilder& builder, const std::string& name,
                           const Value& heads) const {
  std::vector<Value> parts = pairs_ == RotaryPairs::kHalves ? Halves(builder, name, heads)
                                                            : Neighbours(builder, name, heads);
  const Value& a = parts[0];
  const Value& b = parts[1];
  const Value first = builder.Sub(name + "_first", builder.Mul(name + "_a_cos", a, cos_a_),
                                  builder.Mul(name + "_b_sin", b, sin_a_));
  const Value second = builder.Add(name + "_second", builder.Mul(name + "_b_cos", b, cos_b_),
                                   builder.Mul(name + "_a_sin", a, sin_b_));
  parts[0] = first;
  parts[1] = second;
  return builder.Concat(name + "_rotated", parts, 2);
}

}  // namespace npumoe
