#include "graph/latent_attention_program.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "graph/builder.h"
#include "graph/shape_inference.h"
#include "graph/weights/declare_matrix.h"

namespace npumoe {
namespace {

using Value = GraphBuilder::Value;

const WeightData kNoBias = {};

int32_t Narrow(int64_t value) { return static_cast<int32_t>(value); }

Projection QueryDown(const LatentProgramShape& shape, const LatentProgramWeights& weights) {
  return {"query_down", weights.query_down, {shape.query_rank, shape.hidden}, kNoBias};
}
Projection QueryProjection(const LatentProgramShape& shape, const LatentProgramWeights& weights) {
  const int64_t in = shape.query_rank > 0 ? shape.query_rank : shape.hidden;
  return {"query", weights.query, {shape.num_heads * shape.key_dim(), in}, kNoBias};
}
Projection LatentProjection(const LatentProgramShape& shape, const LatentProgramWeights& weights) {
  return {"latent", weights.latent, {shape.latent_dim(), shape.hidden}, kNoBias};
}
Projection Expand(const LatentProgramShape& shape, const LatentProgramWeights& weights, int head) {
  return {"expand_" + std::to_string(head),
          weights.expand[static_cast<size_t>(head)],
          {shape.expanded_dim(), shape.rank},
          kNoBias};
}
Projection OutputProjection(const LatentProgramShape& shape, const LatentProgramWeights& weights) {
  return {"output", weights.output, {shape.hidden, shape.num_heads * shape.value_dim}, kNoBias};
}

Status CheckShape(const LatentProgramShape& shape) {
  if (shape.hidden < 1 || shape.num_heads < 1 || shape.query_rank < 0 || shape.rank < 1 ||
      shape.nope_dim < 1 || shape.rotary_dim < 1 || shape.value_dim < 1) {
    return InvalidInput("latent attention with a size below 1");
  }
  // Products that overflow.
  const int64_t sides[] = {shape.hidden, shape.rank, std::max<int64_t>(1, shape.query_rank)};
  for (const int64_t side : sides) {
    for (const int64_t channels : {shape.nope_dim, shape.rotary_dim, shape.value_dim, side}) {
      NPUMOE_RETURN_IF_ERROR(CheckedShape(std::vector<int64_t>{shape.num_heads, channels, side})
                                 .status()
                                 .WithContext("latent attention has"));
    }
  }
  if (shape.rotary_dim % 2 != 0) {
    return Unsupported("latent attention that rotates " + std::to_string(shape.rotary_dim) +
                       " channels; an even number is needed");
  }
  NPUMOE_RETURN_IF_ERROR(CheckLogitScale(shape.scale));
  return CheckNormEpsilon(shape.norm_epsilon);
}

Status CheckQueries(const LatentProgramShape& shape, const LatentProgramWeights& weights) {
  NPUMOE_RETURN_IF_ERROR(CheckProjection(QueryProjection(shape, weights)));
  if (shape.query_rank == 0) {
    if (IsAbsent(weights.query_down.values) && IsAbsent(weights.query_norm)) return OkStatus();
    return InvalidInput("attention: query_down is given, the shape has no rank of queries");
  }
  NPUMOE_RETURN_IF_ERROR(CheckProjection(QueryDown(shape, weights)));
  return CheckWeightData(weights.query_norm, DType::kF16, shape.query_rank,
                         "attention: query norm");
}

Status CheckWeights(const LatentProgramShape& shape, const LatentProgramWeights& weights) {
  NPUMOE_RETURN_IF_ERROR(CheckQueries(shape, weights));
  NPUMOE_RETURN_IF_ERROR(CheckProjection(LatentProjection(shape, weights)));
  NPUMOE_RETURN_IF_ERROR(
      CheckWeightData(weights.latent_norm, DType::kF16, shape.rank, "attention: latent norm"));
  if (weights.expand.size() != static_cast<size_t>(shape.num_heads)) {
    return InvalidInput("attention: " + std::to_string(weights.expand.size()) +
                        " matrices that expand latents for " + std::to_string(shape.num_heads) +
                        " heads");
  }
  for (int head = 0; head < shape.num_heads; ++head) {
    NPUMOE_RETURN_IF_ERROR(CheckProjection(Expand(shape, weights, head)));
  }
  return CheckProjection(OutputProjection(shape, weights));
}

class LatentAttentionWriter {
 public:
  LatentAttentionWriter(const LatentProgramShape& shape, const LatentProgramWeights& weights,
                        const AttentionExtent& extent, const std::string& name)
      : shape_(shape), weights_(weights), extent_(extent), builder_(name) {}

  Result<Graph> Write() && {
    DeclareInputs();
    const std::vector<Value> query = EachHead(builder_, "query_head", Queries(), shape_.num_heads);
    const Value new_latents = NewLatents();
    const Cached all = WithHistory(new_latents);
    std::vector<Value> attended;
    for (int head = 0; head < shape_.num_heads; ++head) {
      attended.push_back(AttendHead(head, query[static_cast<size_t>(head)], all));
    }
    builder_.Output(Project(builder_, "y", JoinHeads(builder_, "attended", attended),
                            OutputProjection(shape_, weights_)));
    builder_.Output(new_latents);
    return std::move(builder_).Finish();
  }

 private:
  // History and chunk: what keys and values are made of, and the keys' part that is there.
  struct Cached {
    Value compressed;  // [1, rank, 1, L + C]
    Value rotated;     // [1, 1, rotary_dim, L + C]
  };

  void DeclareInputs() {
    x_ = builder_.Input("x", DType::kF16, Shape{1, shape_.hidden, 1, extent_.chunk_tokens});
    const Shape table{1, shape_.rotary_dim, 1, extent_.chunk_tokens};
    const Value cos = builder_.Input("cos", DType::kF16, table);
    const Value sin = builder_.Input("sin", DType::kF16, table);
    rotary_.emplace(builder_, cos, sin, shape_.rotary_pairs);
    head_attention_.emplace(builder_, extent_);
  }

  // The first and the last channels of a value, along `axis`.
  std::pair<Value, Value> Parts(const std::string& name, const Value& value, int64_t first,
                                int64_t last, int axis) {
    std::vector<Value> parts = builder_.Split(name, value, {Narrow(first), Narrow(last)}, axis);
    parts.resize(2);  // empty after an error of the builder
    return {parts[0], parts[1]};
  }

  Value Normed(const std::string& name, const Value& value, int64_t channels,
               const WeightData& gain) {
    const Value gamma = builder_.Weight("g_" + name, DType::kF16, Shape{1, channels, 1, 1}, gain);
    return SafeRmsNorm{shape_.norm_epsilon, name + "_norm"}.Write(builder_, value, 1, gamma);
  }

  // Of all heads, rotated and scaled: [1, num_heads, key_dim, C].
  Value Queries() {
    Value from = x_;
    if (shape_.query_rank > 0) {
      const Value low = Project(builder_, "query_down", x_, QueryDown(shape_, weights_));
      from = Normed("query_down", low, shape_.query_rank, weights_.query_norm);
    }
    const Value heads = ToHeads(builder_, "query_heads",
                                Project(builder_, "query", from, QueryProjection(shape_, weights_)),
                                shape_.num_heads);
    const auto [still, turning] =
        Parts("query_parts", heads, shape_.nope_dim, shape_.rotary_dim, 2);
    const Value turned = rotary_->Rotate(builder_, "query", turning);
    const Value whole = builder_.Concat("query_joined", {still, turned}, 2);
    const Value scale = builder_.Floats("scale", DType::kF16, {}, {shape_.scale});
    return builder_.Mul("query_scaled", whole, scale);
  }

  Value NewLatents() {
    const Value row = Project(builder_, "latent", x_, LatentProjection(shape_, weights_));
    const auto [compressed, turning] =
        Parts("latent_parts", row, shape_.rank, shape_.rotary_dim, 1);
    const Value normed = Normed("latent", compressed, shape_.rank, weights_.latent_norm);
    const Value head = ToHeads(builder_, "rope_head", turning, 1);
    const Value turned = ToChannels(builder_, "rope", rotary_->Rotate(builder_, "rope_head", head));
    return builder_.Concat("new_latents", {normed, turned}, 1);
  }

  Cached WithHistory(const Value& fresh) {
    Value all = fresh;
    if (extent_.history_tokens > 0) {
      const Shape past{1, shape_.latent_dim(), 1, extent_.history_tokens};
      const Value latents = builder_.Input("latents", DType::kF16, past);
      all = builder_.Concat("latents_all", {latents, fresh}, 3);
    }
    const auto [compressed, rope] = Parts("latents_parts", all, shape_.rank, shape_.rotary_dim, 1);
    return {compressed, ToHeads(builder_, "rope_all", rope, 1)};
  }

  Value AttendHead(int head, const Value& query, const Cached& all) {
    const std::string suffix = "_" + std::to_string(head);
    const Value expanded = ToHeads(
        builder_, "expanded_head" + suffix,
        Project(builder_, "expanded" + suffix, all.compressed, Expand(shape_, weights_, head)), 1);
    const auto [still, value] =
        Parts("expanded_parts" + suffix, expanded, shape_.nope_dim, shape_.value_dim, 2);
    const Value key = builder_.Concat("key" + suffix, {still, all.rotated}, 2);
    return head_attention_->Attend(head, query, key, value);
  }

  const LatentProgramShape& shape_;
  const LatentProgramWeights& weights_;
  const AttentionExtent& extent_;
  GraphBuilder builder_;
  Value x_;
  std::optional<RotaryTables> rotary_;
  std::optional<HeadAttention> head_attention_;
};

}  // namespace

Result<Graph> BuildLatentAttentionGraph(const LatentProgramShape& shape,
                                        const LatentProgramWeights& weights,
                                        const AttentionExtent& extent,
                                        const std::string& function_name) {
  NPUMOE_RETURN_IF_ERROR(CheckExtent(extent));
  NPUMOE_RETURN_IF_ERROR(CheckShape(shape));
  NPUMOE_RETURN_IF_ERROR(CheckWeights(shape, weights));
  return LatentAttentionWriter(shape, weights, extent, function_name).Write();
}

}  // namespace npumoe
