#include "runtime/conformance/attention_reference.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "graph/weights/materialised.h"
#include "kernels/attention/attention.h"
#include "kernels/gemm/gemm.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "runtime/conformance/conformance_values.h"

namespace npumoe {
namespace {

// Rows that own their values.
struct Rows {
  std::vector<float> values;
  int64_t columns = 0;

  int64_t rows() const { return static_cast<int64_t>(values.size()) / columns; }
  Matrix matrix() { return {values.data(), rows(), columns, columns}; }
};

class AttentionStep {
 public:
  AttentionStep(const AttentionTest& test, const AttentionExtent& extent, const Graph& stored)
      : test_(test), shape_(test.shape), extent_(extent), stored_(stored) {}

  Result<NamedValues> Run() const {
    const AttentionRows in = RowsOf(test_, extent_);
    const ConstMatrix x = in.X(shape_, extent_);
    NPUMOE_ASSIGN_OR_RETURN(Rows queries, Projected("query", x));
    NPUMOE_ASSIGN_OR_RETURN(Rows keys, Projected("key", x));
    NPUMOE_ASSIGN_OR_RETURN(Rows values, Product("value", x));
    Clip(values);
    Rows all_keys = WithHistory(in.Keys(shape_, extent_), keys);
    Rows all_values = WithHistory(in.Values(shape_, extent_), values);
    Rows attended = Attended(queries, all_keys, all_values);
    NPUMOE_ASSIGN_OR_RETURN(Rows y, Product("output", attended.matrix()));
    return NamedValues{{"y", ChannelsFirst(y.matrix())},
                       {"new_keys", ChannelsFirst(keys.matrix())},
                       {"new_values", ChannelsFirst(values.matrix())}};
  }

 private:
  Result<Rows> Product(const std::string& role, ConstMatrix x) const {
    NPUMOE_ASSIGN_OR_RETURN(const auto weight, HalvesOf(stored_, "w_" + role));
    std::vector<float> bias;
    if (test_.has_biases) {
      NPUMOE_ASSIGN_OR_RETURN(const auto halves, HalvesOf(stored_, "b_" + role));
      bias = FloatsOf(halves);
    }
    const int64_t out = static_cast<int64_t>(weight.size()) / x.columns;
    Rows product{std::vector<float>(static_cast<size_t>(x.rows * out)), out};
    MatMulReference(x, ViewOf(weight, {out, x.columns}), bias, product.matrix());
    return product;
  }

  // Queries or keys: normed, clipped and rotated, too.
  Result<Rows> Projected(const std::string& role, ConstMatrix x) const {
    NPUMOE_ASSIGN_OR_RETURN(Rows rows, Product(role, x));
    if (shape_.head_norm != HeadNorm::kNone) {
      NPUMOE_ASSIGN_OR_RETURN(const auto gain, HalvesOf(stored_, "g_" + role));
      const auto width = static_cast<int64_t>(gain.size());  // of a head, or of all
      const Matrix parts{rows.values.data(), rows.rows() * rows.columns / width, width, width};
      RmsNormReference(parts, ViewOf(gain, {width}), shape_.norm_epsilon, parts);
    }
    Clip(rows);
    if (shape_.rotary_dim > 0) Rotate(rows);
    return rows;
  }

  void Clip(Rows& rows) const {
    if (shape_.clip_qkv == 0) return;
    for (float& value : rows.values) value = std::clamp(value, -shape_.clip_qkv, shape_.clip_qkv);
  }

  void Rotate(Rows& rows) const {
    const auto frequencies =
        RopeInverseFrequencies(static_cast<int>(shape_.rotary_dim), kRopeTheta);
    RopeReference({.rows = rows.matrix(),
                   .head_dim = static_cast<int>(shape_.head_dim),
                   .rotary_dim = static_cast<int>(shape_.rotary_dim),
                   .inverse_frequencies = frequencies,
                   .interleaved = shape_.rotary_pairs == RotaryPairs::kSideBySide,
                   .position = FirstPosition(extent_)});
  }

  // The slots that are filled, and the chunk.
  Rows WithHistory(ConstMatrix past, const Rows& fresh) const {
    Rows all{{}, fresh.columns};
    for (int64_t slot = EmptySlots(extent_); slot < extent_.history_tokens; ++slot) {
      all.values.insert(all.values.end(), past.Row(slot), past.Row(slot) + past.columns);
    }
    all.values.insert(all.values.end(), fresh.values.begin(), fresh.values.end());
    return all;
  }

  Rows Attended(Rows& queries, Rows& keys, Rows& values) const {
    const int64_t width = shape_.num_heads * shape_.value_dim;
    Rows attended{std::vector<float>(static_cast<size_t>(queries.rows() * width)), width};
    const std::vector<float> sinks = test_.has_sinks ? SinksOf(shape_) : std::vector<float>{};
    AttentionArgs args;
    args.num_heads = shape_.num_heads;
    args.num_kv_heads = shape_.num_kv_heads;
    args.head_dim = static_cast<int>(shape_.head_dim);
    args.value_dim = static_cast<int>(shape_.value_dim);
    args.scale = shape_.scale;
    args.position = FirstPosition(extent_);
    args.window = test_.window;
    args.sinks = sinks;
    args.queries = queries.matrix();
    args.keys = keys.matrix();
    args.values = values.matrix();
    args.out = attended.matrix();
    AttentionReference(args);
    return attended;
  }

  const AttentionTest& test_;
  const AttentionProgramShape& shape_;
  const AttentionExtent& extent_;
  const Graph& stored_;
};

}  // namespace

int64_t EmptySlots(const AttentionExtent& extent) {
  return std::min<int64_t>(5, extent.history_tokens);
}

int64_t FirstPosition(const AttentionExtent& extent) {
  return extent.history_tokens - EmptySlots(extent);
}

bool Sees(const AttentionTest& test, const AttentionExtent& extent, int64_t query, int64_t key) {
  const int64_t own = extent.history_tokens + query;
  const bool in_window = test.window == 0 || key > own - test.window;
  return key >= EmptySlots(extent) && key <= own && in_window;
}

void AddRotaryTables(int64_t rotary_dim, const AttentionExtent& extent, NamedValues& inputs) {
  if (rotary_dim == 0) return;
  const auto frequencies = RopeInverseFrequencies(static_cast<int>(rotary_dim), kRopeTheta);
  for (int64_t channel = 0; channel < rotary_dim; ++channel) {
    const float frequency = frequencies[static_cast<size_t>(channel % (rotary_dim / 2))];
    for (int64_t token = 0; token < extent.chunk_tokens; ++token) {
      const float angle = static_cast<float>(FirstPosition(extent) + token) * frequency;
      inputs["cos"].push_back(std::cos(angle));
      inputs["sin"].push_back(std::sin(angle));
    }
  }
}

std::vector<float> MaskOf(const AttentionTest& test, const AttentionExtent& extent) {
  std::vector<float> mask;
  for (int64_t key = 0; key < extent.history_tokens + extent.chunk_tokens; ++key) {
    for (int64_t query = 0; query < extent.chunk_tokens; ++query) {
      mask.push_back(Sees(test, extent, query, key) ? 0 : kMaskedOut);
    }
  }
  return mask;
}

std::vector<float> SinksOf(const AttentionProgramShape& shape) {
  std::vector<float> sinks;
  for (int head = 0; head < shape.num_heads; ++head) {
    sinks.push_back(0.5f * static_cast<float>(head) - 0.75f);
  }
  return sinks;
}

ConstMatrix AttentionRows::X(const AttentionProgramShape& shape,
                             const AttentionExtent& extent) const {
  return {x.data(), extent.chunk_tokens, shape.hidden, shape.hidden};
}
ConstMatrix AttentionRows::Keys(const AttentionProgramShape& shape,
                                const AttentionExtent& extent) const {
  const int64_t width = shape.num_kv_heads * shape.head_dim;
  return {keys.data(), extent.history_tokens, width, width};
}
ConstMatrix AttentionRows::Values(const AttentionProgramShape& shape,
                                  const AttentionExtent& extent) const {
  const int64_t width = shape.num_kv_heads * shape.value_dim;
  return {values.data(), extent.history_tokens, width, width};
}

AttentionRows RowsOf(const AttentionTest& test, const AttentionExtent& extent) {
  const AttentionProgramShape& shape = test.shape;
  const int64_t history = extent.history_tokens * shape.num_kv_heads;
  return {SeededHalves(extent.chunk_tokens * shape.hidden, 71, 1),
          SeededHalves(history * shape.head_dim, 72, 1),
          SeededHalves(history * shape.value_dim, 73, 1)};
}

Result<NamedValues> AttendReference(const AttentionTest& test, const AttentionExtent& extent,
                                    const Graph& stored) {
  return AttentionStep(test, extent, stored).Run();
}

}  // namespace npumoe
