#include "graph/attention_program.h"

#include <cmath>
#include <optional>
#include <utility>

#include "graph/builder.h"
#include "graph/shape_inference.h"
#include "graph/weights/declare_matrix.h"

namespace npumoe {
namespace {

using Value = GraphBuilder::Value;

std::vector<Projection> ProjectionsOf(const AttentionProgramShape& shape,
                                      const AttentionProgramWeights& weights) {
  const int64_t queries = shape.num_heads * shape.head_dim;
  const int64_t keys = shape.num_kv_heads * shape.head_dim;
  const int64_t values = shape.num_kv_heads * shape.value_dim;
  const int64_t attended = shape.num_heads * shape.value_dim;
  return {
      {"query", weights.query, {queries, shape.hidden}, weights.query_bias},
      {"key", weights.key, {keys, shape.hidden}, weights.key_bias},
      {"value", weights.value, {values, shape.hidden}, weights.value_bias},
      {"output", weights.output, {shape.hidden, attended}, weights.output_bias},
  };
}

Status CheckShape(const AttentionProgramShape& shape) {
  if (shape.hidden < 1 || shape.num_heads < 1 || shape.num_kv_heads < 1 || shape.head_dim < 1 ||
      shape.value_dim < 1) {
    return InvalidInput("attention with a size below 1");
  }
  for (const int64_t channels : {shape.head_dim, shape.value_dim}) {  // products that overflow
    NPUMOE_RETURN_IF_ERROR(
        CheckedShape(std::vector<int64_t>{shape.num_heads, channels, shape.hidden})
            .status()
            .WithContext("attention has"));
  }
  if (shape.num_heads % shape.num_kv_heads != 0) {
    return Unsupported("attention with " + std::to_string(shape.num_heads) + " heads and " +
                       std::to_string(shape.num_kv_heads) +
                       " heads of keys; the first must be a multiple of the second");
  }
  if (shape.head_dim % 2 != 0) {
    return Unsupported("attention with heads of " + std::to_string(shape.head_dim) +
                       " channels; an even number is needed");
  }
  if (shape.rotary_dim < 0 || shape.rotary_dim > shape.head_dim || shape.rotary_dim % 2 != 0) {
    return Unsupported("attention that rotates " + std::to_string(shape.rotary_dim) + " of " +
                       std::to_string(shape.head_dim) + " channels; an even number is needed");
  }
  return OkStatus();
}

Status CheckNumbers(const AttentionProgramShape& shape) {
  NPUMOE_RETURN_IF_ERROR(CheckLogitScale(shape.scale));
  if (!(shape.clip_qkv >= 0 && shape.clip_qkv < kF16Max)) {
    return InvalidInput("attention with the clip " + std::to_string(shape.clip_qkv) +
                        "; 0 (none) or a positive number that fp16 holds is needed");
  }
  return shape.head_norm == HeadNorm::kNone ? OkStatus() : CheckNormEpsilon(shape.norm_epsilon);
}

// Channels that one gain has for each: a head's, or all.
int64_t NormChannels(const AttentionProgramShape& shape, int heads) {
  return shape.head_norm == HeadNorm::kPerHead ? shape.head_dim : heads * shape.head_dim;
}

Status CheckNorms(const AttentionProgramShape& shape, const AttentionProgramWeights& weights) {
  if (shape.head_norm == HeadNorm::kNone) {
    if (IsAbsent(weights.query_norm) && IsAbsent(weights.key_norm)) return OkStatus();
    return InvalidInput("attention: gains of norms are given, the shape has no norms");
  }
  NPUMOE_RETURN_IF_ERROR(CheckWeightData(weights.query_norm, DType::kF16,
                                         NormChannels(shape, shape.num_heads),
                                         "attention: query norm"));
  return CheckWeightData(weights.key_norm, DType::kF16, NormChannels(shape, shape.num_kv_heads),
                         "attention: key norm");
}

Status CheckWeights(const AttentionProgramShape& shape, const AttentionProgramWeights& weights) {
  for (const Projection& projection : ProjectionsOf(shape, weights)) {
    NPUMOE_RETURN_IF_ERROR(CheckProjection(projection));
  }
  const auto heads = static_cast<size_t>(shape.num_heads);
  if (!weights.sinks.empty() && weights.sinks.size() != heads) {
    return InvalidInput("attention: " + std::to_string(weights.sinks.size()) + " sinks for " +
                        std::to_string(heads) + " heads");
  }
  for (const float sink : weights.sinks) {
    if (!(std::abs(sink) < kF16Max)) {
      return InvalidInput("attention: a sink of " + std::to_string(sink) +
                          "; a number that fp16 holds is needed");
    }
  }
  return CheckNorms(shape, weights);
}

class AttentionWriter {
 public:
  AttentionWriter(const AttentionProgramShape& shape, const AttentionProgramWeights& weights,
                  const AttentionExtent& extent, const std::string& name)
      : shape_(shape), weights_(weights), extent_(extent), builder_(name) {}

  Result<Graph> Write() && {
    DeclareInputs();
    const Value queries = Scaled(Rotated("query", Normed("query", shape_.num_heads)));
    const Value new_keys =
        ToChannels(builder_, "new_keys", Rotated("key", Normed("key", shape_.num_kv_heads)));
    const Value new_values =
        Clipped(Projected(2, shape_.clip_qkv > 0 ? "value" : "new_values", x_), "new_values");
    const Value all_keys = WithHistory("keys", new_keys, shape_.head_dim);
    const Value all_values = WithHistory("values", new_values, shape_.value_dim);
    const Value attended = Attend(queries, all_keys, all_values);
    builder_.Output(Projected(3, "y", attended));
    builder_.Output(new_keys);
    builder_.Output(new_values);
    return std::move(builder_).Finish();
  }

 private:
  void DeclareInputs() {
    x_ = builder_.Input("x", DType::kF16, Shape{1, shape_.hidden, 1, extent_.chunk_tokens});
    if (shape_.rotary_dim > 0) {
      const Shape table{1, shape_.rotary_dim, 1, extent_.chunk_tokens};
      const Value cos = builder_.Input("cos", DType::kF16, table);
      const Value sin = builder_.Input("sin", DType::kF16, table);
      rotary_.emplace(builder_, cos, sin, shape_.rotary_pairs);
    }
    head_attention_.emplace(builder_, extent_);
  }

  Value Projected(size_t which, const std::string& name, const Value& from) {
    return Project(builder_, name, from, ProjectionsOf(shape_, weights_)[which]);
  }

  Value Clipped(const Value& value, const std::string& name) {
    if (shape_.clip_qkv == 0) return value;
    return builder_.Clip(name, value, -shape_.clip_qkv, shape_.clip_qkv);
  }

  // Projected, normed and clipped queries (or keys), as heads.
  Value Normed(const std::string& name, int heads) {
    const bool query = name == "query";
    Value value = Projected(query ? 0 : 1, name, x_);
    const WeightData& gain = query ? weights_.query_norm : weights_.key_norm;
    const SafeRmsNorm norm{shape_.norm_epsilon, name + "_norm"};
    if (shape_.head_norm == HeadNorm::kWholeWidth) {
      const Value gamma =
          builder_.Weight("g_" + name, DType::kF16, Shape{1, value.shape[1], 1, 1}, gain);
      value = norm.Write(builder_, value, 1, gamma);
    }
    value = ToHeads(builder_, name + "_heads", value, heads);
    if (shape_.head_norm == HeadNorm::kPerHead) {
      const Value gamma =
          builder_.Weight("g_" + name, DType::kF16, Shape{1, 1, shape_.head_dim, 1}, gain);
      value = norm.Write(builder_, value, 2, gamma);
    }
    return Clipped(value, name + "_clipped");
  }

  Value Rotated(const std::string& name, const Value& heads) {
    return rotary_ ? rotary_->Rotate(builder_, name, heads) : heads;
  }

  Value Scaled(const Value& queries) {
    const Value scale = builder_.Floats("scale", DType::kF16, {}, {shape_.scale});
    return builder_.Mul("query_scaled", queries, scale);
  }

  // History and chunk as heads, [1, kv_heads, d, L + C].
  Value WithHistory(const std::string& name, const Value& fresh, int64_t channels) {
    Value all = fresh;
    if (extent_.history_tokens > 0) {
      const Shape past{1, shape_.num_kv_heads * channels, 1, extent_.history_tokens};
      all = builder_.Concat(name + "_all", {builder_.Input(name, DType::kF16, past), fresh}, 3);
    }
    return ToHeads(builder_, name + "_heads", all, shape_.num_kv_heads);
  }

  Value Attend(const Value& queries, const Value& all_keys, const Value& all_values) {
    const int heads = shape_.num_heads, kv_heads = shape_.num_kv_heads;
    const std::vector<Value> query = EachHead(builder_, "query_head", queries, heads);
    const std::vector<Value> key = EachHead(builder_, "key_head", all_keys, kv_heads);
    const std::vector<Value> value = EachHead(builder_, "value_head", all_values, kv_heads);
    std::vector<Value> attended;
    for (int head = 0; head < heads; ++head) {
      const auto at = static_cast<size_t>(head);
      const size_t shared = at * key.size() / query.size();
      const auto sink =
          weights_.sinks.empty() ? std::nullopt : std::optional<float>(weights_.sinks[at]);
      attended.push_back(
          head_attention_->Attend(head, query[at], key[shared], value[shared], sink));
    }
    return JoinHeads(builder_, "attended", attended);
  }

  const AttentionProgramShape& shape_;
  const AttentionProgramWeights& weights_;
  const AttentionExtent& extent_;
  GraphBuilder builder_;
  Value x_;
  std::optional<RotaryTables> rotary_;
  std::optional<HeadAttention> head_attention_;
};

}  // namespace

Result<Graph> BuildAttentionGraph(const AttentionProgramShape& shape,
                                  const AttentionProgramWeights& weights,
                                  const AttentionExtent& extent, const std::string& function_name) {
  NPUMOE_RETURN_IF_ERROR(CheckExtent(extent));
  NPUMOE_RETURN_IF_ERROR(CheckShape(shape));
  NPUMOE_RETURN_IF_ERROR(CheckNumbers(shape));
  NPUMOE_RETURN_IF_ERROR(CheckWeights(shape, weights));
  return AttentionWriter(shape, weights, extent, function_name).Write();
}

}  // namespace npumoe
