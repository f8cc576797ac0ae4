// Latent attention programs over a chunk and a history, which the reference kernels compute step by
// step with keys and values of every head.
#include <algorithm>
#include <utility>

#include "graph/latent_attention_program.h"
#include "graph/weights/materialised.h"
#include "kernels/attention/attention.h"
#include "kernels/gemm/gemm.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/rope/rope.h"
#include "runtime/conformance/attention_reference.h"
#include "runtime/conformance/conformance_case.h"
#include "runtime/conformance/conformance_values.h"

namespace npumoe {
namespace {

struct LatentTest {
  const char* name = "";
  LatentProgramShape shape;
  std::vector<int64_t> histories;  // of its functions
};

std::vector<LatentTest> Classes() {
  const LatentProgramShape plain{.hidden = 64,
                                 .num_heads = 4,
                                 .rank = 32,
                                 .nope_dim = 24,
                                 .rotary_dim = 16,
                                 .value_dim = 24,
                                 .scale = 0.158f,
                                 .norm_epsilon = 1e-6f};
  LatentProgramShape low_rank = plain;
  low_rank.query_rank = 32;
  return {{"latent, first chunk", plain, {0}},
          {"latent, queries of low rank", low_rank, {32}},
          {"latent, buckets of histories", plain, {0, 32, 128}}};
}

Result<LatentProgramWeights> WeightsOf(const LatentProgramShape& shape, WeightFormat format) {
  const int64_t queries = shape.num_heads * shape.key_dim();
  LatentProgramWeights weights;
  if (shape.query_rank > 0) {
    NPUMOE_ASSIGN_OR_RETURN(weights.query_down,
                            SeededMatrix(format, {shape.query_rank, shape.hidden}, 520));
    weights.query_norm = SeededVector(521, 1, 0.2f);
  }
  NPUMOE_ASSIGN_OR_RETURN(
      weights.query,
      SeededMatrix(format, {queries, shape.query_rank > 0 ? shape.query_rank : shape.hidden}, 522));
  NPUMOE_ASSIGN_OR_RETURN(weights.latent,
                          SeededMatrix(format, {shape.latent_dim(), shape.hidden}, 523));
  weights.latent_norm = SeededVector(524, 1, 0.2f);
  NPUMOE_ASSIGN_OR_RETURN(
      weights.output, SeededMatrix(format, {shape.hidden, shape.num_heads * shape.value_dim}, 525));
  for (int head = 0; head < shape.num_heads; ++head) {
    NPUMOE_ASSIGN_OR_RETURN(WeightMatrix matrix,
                            SeededMatrix(format, {shape.expanded_dim(), shape.rank},
                                         530 + static_cast<uint64_t>(head)));
    weights.expand.push_back(std::move(matrix));
  }
  return weights;
}

std::vector<float> XOf(const LatentProgramShape& shape, const AttentionExtent& extent) {
  return SeededHalves(extent.chunk_tokens * shape.hidden, 71, 1);
}
std::vector<float> PastOf(const LatentProgramShape& shape, const AttentionExtent& extent) {
  return SeededHalves(extent.history_tokens * shape.latent_dim(), 72, 1);
}

NamedValues InputsOf(const LatentProgramShape& shape, const AttentionExtent& extent) {
  NamedValues inputs;
  const std::vector<float> x = XOf(shape, extent), past = PastOf(shape, extent);
  inputs["x"] = ChannelsFirst({x.data(), extent.chunk_tokens, shape.hidden, shape.hidden});
  if (extent.history_tokens > 0) {
    const int64_t width = shape.latent_dim();
    inputs["latents"] = ChannelsFirst({past.data(), extent.history_tokens, width, width});
  }
  AddRotaryTables(shape.rotary_dim, extent, inputs);
  inputs["mask"] = MaskOf({}, extent);
  return inputs;
}

Matrix Columns(const Matrix& rows, int64_t first, int64_t count) {
  return {rows.data + first, rows.rows, count, rows.stride};
}

class LatentStep {
 public:
  LatentStep(const LatentProgramShape& shape, const AttentionExtent& extent, const Graph& stored)
      : shape_(shape), extent_(extent), stored_(stored) {}

  Result<NamedValues> Run() const {
    const std::vector<float> x = XOf(shape_, extent_);
    const ConstMatrix in{x.data(), extent_.chunk_tokens, shape_.hidden, shape_.hidden};
    NPUMOE_ASSIGN_OR_RETURN(ValueRows queries, Queries(in));
    NPUMOE_ASSIGN_OR_RETURN(ValueRows latents, NewLatents(in));
    ValueRows all = WithHistory(latents);
    ValueRows attended = ValueRows::Of(extent_.chunk_tokens, shape_.num_heads * shape_.value_dim);
    for (int head = 0; head < shape_.num_heads; ++head) {
      NPUMOE_RETURN_IF_ERROR(AttendHead(head, queries, all, attended));
    }
    NPUMOE_ASSIGN_OR_RETURN(ValueRows y, Product("output", attended.matrix()));
    return NamedValues{{"y", ChannelsFirst(y.matrix())},
                       {"new_latents", ChannelsFirst(latents.matrix())}};
  }

 private:
  struct ValueRows {
    std::vector<float> values;
    int64_t columns = 0;

    static ValueRows Of(int64_t rows, int64_t columns) {
      return {std::vector<float>(static_cast<size_t>(rows * columns)), columns};
    }
    Matrix matrix() {
      return {values.data(), static_cast<int64_t>(values.size()) / columns, columns, columns};
    }
  };

  Result<ValueRows> Product(const std::string& role, ConstMatrix x) const {
    NPUMOE_ASSIGN_OR_RETURN(const auto weight, HalvesOf(stored_, "w_" + role));
    const int64_t out = static_cast<int64_t>(weight.size()) / x.columns;
    ValueRows product = ValueRows::Of(x.rows, out);
    MatMulReference(x, ViewOf(weight, {out, x.columns}), {}, product.matrix());
    return product;
  }

  Status Norm(const std::string& role, Matrix rows) const {
    NPUMOE_ASSIGN_OR_RETURN(const auto gain, HalvesOf(stored_, "g_" + role));
    RmsNormReference(rows, ViewOf(gain, {rows.columns}), shape_.norm_epsilon, rows);
    return OkStatus();
  }

  // From `offset` on of heads of `head_dim` channels.
  void Rotate(Matrix rows, int64_t head_dim, int64_t offset) const {
    const auto frequencies =
        RopeInverseFrequencies(static_cast<int>(shape_.rotary_dim), kRopeTheta);
    RopeReference({.rows = rows,
                   .head_dim = static_cast<int>(head_dim),
                   .rotary_offset = static_cast<int>(offset),
                   .rotary_dim = static_cast<int>(shape_.rotary_dim),
                   .inverse_frequencies = frequencies,
                   .interleaved = shape_.rotary_pairs == RotaryPairs::kSideBySide,
                   .position = FirstPosition(extent_)});
  }

  Result<ValueRows> Queries(ConstMatrix x) const {
    ValueRows low;
    if (shape_.query_rank > 0) {
      NPUMOE_ASSIGN_OR_RETURN(low, Product("query_down", x));
      NPUMOE_RETURN_IF_ERROR(Norm("query_down", low.matrix()));
    }
    NPUMOE_ASSIGN_OR_RETURN(
        ValueRows queries, Product("query", shape_.query_rank > 0 ? ConstMatrix(low.matrix()) : x));
    Rotate(queries.matrix(), shape_.key_dim(), shape_.nope_dim);
    return queries;
  }

  Result<ValueRows> NewLatents(ConstMatrix x) const {
    NPUMOE_ASSIGN_OR_RETURN(ValueRows latents, Product("latent", x));
    NPUMOE_RETURN_IF_ERROR(Norm("latent", Columns(latents.matrix(), 0, shape_.rank)));
    Rotate(Columns(latents.matrix(), shape_.rank, shape_.rotary_dim), shape_.rotary_dim, 0);
    return latents;
  }

  // The slots that are filled, and the chunk.
  ValueRows WithHistory(const ValueRows& fresh) const {
    const std::vector<float> past = PastOf(shape_, extent_);
    ValueRows all{{}, shape_.latent_dim()};
    all.values.assign(past.begin() + EmptySlots(extent_) * shape_.latent_dim(), past.end());
    all.values.insert(all.values.end(), fresh.values.begin(), fresh.values.end());
    return all;
  }

  Status AttendHead(int head, ValueRows& queries, ValueRows& all, ValueRows& attended) const {
    const Matrix latents = all.matrix();
    NPUMOE_ASSIGN_OR_RETURN(ValueRows expanded, Product("expand_" + std::to_string(head),
                                                        Columns(latents, 0, shape_.rank)));
    ValueRows keys = ValueRows::Of(latents.rows, shape_.key_dim());
    for (int64_t r = 0; r < latents.rows; ++r) {
      const float* still = expanded.matrix().Row(r);
      const float* turned = latents.Row(r) + shape_.rank;
      std::copy_n(still, shape_.nope_dim, keys.matrix().Row(r));
      std::copy_n(turned, shape_.rotary_dim, keys.matrix().Row(r) + shape_.nope_dim);
    }
    AttentionArgs args;
    args.num_heads = args.num_kv_heads = 1;
    args.head_dim = static_cast<int>(shape_.key_dim());
    args.value_dim = static_cast<int>(shape_.value_dim);
    args.scale = shape_.scale;
    args.position = FirstPosition(extent_);
    args.queries = Columns(queries.matrix(), head * shape_.key_dim(), shape_.key_dim());
    args.keys = keys.matrix();
    args.values = Columns(expanded.matrix(), shape_.nope_dim, shape_.value_dim);
    args.out = Columns(attended.matrix(), head * shape_.value_dim, shape_.value_dim);
    AttentionReference(args);
    return OkStatus();
  }

  const LatentProgramShape& shape_;
  const AttentionExtent& extent_;
  const Graph& stored_;
};

Result<std::vector<ConformanceFunction>> MakeFunctions(const LatentTest& test,
                                                       WeightFormat format) {
  NPUMOE_ASSIGN_OR_RETURN(const LatentProgramWeights weights, WeightsOf(test.shape, format));
  std::vector<ConformanceFunction> functions;
  for (const int64_t history : test.histories) {
    const AttentionExtent extent{.chunk_tokens = 32, .history_tokens = history};
    NPUMOE_ASSIGN_OR_RETURN(Graph graph,
                            BuildLatentAttentionGraph(test.shape, weights, extent,
                                                      "history_" + std::to_string(history)));
    functions.push_back({std::move(graph), InputsOf(test.shape, extent),
                         [shape = test.shape, extent](const Graph& stored) {
                           return LatentStep(shape, extent, stored).Run();
                         }});
  }
  return functions;
}

}  // namespace

// Tolerance: that of attention (attention_cases.cc). Keys and values see a product more, after the
// latents' norm: five roundings in a row at most instead of four, of which the sum over some dozens
// of keys leaves half and less.
std::vector<ConformanceCase> LatentAttentionCases() {
  std::vector<ConformanceCase> cases;
  for (const LatentTest& test : Classes()) {
    for (const WeightFormat format : kEveryFormat) {
      cases.push_back({"attention", test.name, format, std::nullopt, 5e-3 + WeightRounding(format),
                       [test, format] { return MakeFunctions(test, format); }});
    }
  }
  return cases;
}

}  // namespace npumoe
