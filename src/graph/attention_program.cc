#include "graph/attention_program.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "graph/attention_parts.h"
#include "graph/builder.h"
#include "graph/shape_inference.h"
#include "graph/weights/declare_matrix.h"

namespace npumoe {
namespace {

using Value = GraphBuilder::Value;

int32_t Narrow(int64_t value) { return static_cast<int32_t>(value); }

// One of the four projections as a 1x1 convolution.
struct Projection {
  const char* name;
  const WeightMatrix& matrix;
  const WeightData& bias;
  MatrixShape shape;
};

std::vector<Projection> ProjectionsOf(const AttentionProgramShape& shape,
                                      const AttentionProgramWeights& weights) {
  const int64_t queries = shape.num_heads * shape.head_dim;
  const int64_t keys = shape.num_kv_heads * shape.head_dim;
  const int64_t values = shape.num_kv_heads * shape.value_dim;
  return {
      {"query", weights.query, weights.query_bias, {queries, shape.hidden}},
      {"key", weights.key, weights.key_bias, {keys, shape.hidden}},
      {"value", weights.value, weights.value_bias, {values, shape.hidden}},
      {"output",
       weights.output,
       weights.output_bias,
       {shape.hidden, shape.num_heads * shape.value_dim}},
  };
}

Status CheckExtent(const AttentionExtent& extent) {
  if (extent.chunk_tokens >= 1 && extent.history_tokens >= 0) return OkStatus();
  return InvalidInput("attention over a chunk of " + std::to_string(extent.chunk_tokens) +
                      " tokens and a history of " + std::to_string(extent.history_tokens) +
                      "; at least 1 and 0 are needed");
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
  if (!(shape.scale > 0 && shape.scale < kF16Max)) {
    return InvalidInput("attention with the scale " + std::to_string(shape.scale) +
                        "; a positive number that fp16 holds is needed");
  }
  if (!(shape.clip_qkv >= 0 && shape.clip_qkv < kF16Max)) {
    return InvalidInput("attention with the clip " + std::to_string(shape.clip_qkv) +
                        "; 0 (none) or a positive number that fp16 holds is needed");
  }
  if (shape.head_norm != HeadNorm::kNone && !(shape.norm_epsilon > 0 && shape.norm_epsilon < 1)) {
    return InvalidInput("attention whose norms have the epsilon " +
                        std::to_string(shape.norm_epsilon) + "; a number in (0, 1) is needed");
  }
  return OkStatus();
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
    const std::string what = std::string("attention: ") + projection.name;
    NPUMOE_RETURN_IF_ERROR(CheckMatrix(projection.matrix, projection.shape, what));
    if (IsAbsent(projection.bias)) continue;
    NPUMOE_RETURN_IF_ERROR(
        CheckWeightData(projection.bias, DType::kF16, projection.shape.out, what + " bias"));
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

// Writes the graph. Between the projections, heads stand on axis 1, their channels on axis 2 and
// tokens on the last: [1, heads, head_dim, tokens], the same bytes as [1, channels, 1, tokens], so
// that a product of two heads contracts the channels without moving anything.
class AttentionWriter {
 public:
  AttentionWriter(const AttentionProgramShape& shape, const AttentionProgramWeights& weights,
                  const AttentionExtent& extent, const std::string& name)
      : shape_(shape), weights_(weights), extent_(extent), builder_(name) {}

  Result<Graph> Write() && {
    DeclareInputs();
    const Value queries = Scaled(Rotated("query", Normed("query", shape_.num_heads)));
    const Value new_keys = Flat("new_keys", Rotated("key", Normed("key", shape_.num_kv_heads)));
    const Value new_values =
        Clipped(Project(2, shape_.clip_qkv > 0 ? "value" : "new_values"), "new_values");
    const Value all_keys = WithHistory("keys", new_keys, shape_.head_dim);
    const Value all_values = WithHistory("values", new_values, shape_.value_dim);
    const Value attended = Attend(queries, all_keys, all_values);
    builder_.Output(ProjectFrom(attended, 3, "y"));
    builder_.Output(new_keys);
    builder_.Output(new_values);
    return std::move(builder_).Finish();
  }

 private:
  int64_t tokens() const { return extent_.chunk_tokens; }
  int64_t keys() const { return extent_.history_tokens + extent_.chunk_tokens; }

  void DeclareInputs() {
    x_ = builder_.Input("x", DType::kF16, Shape{1, shape_.hidden, 1, tokens()});
    if (shape_.rotary_dim > 0) {
      const Shape table{1, shape_.rotary_dim, 1, tokens()};
      const Value cos = builder_.Input("cos", DType::kF16, table);
      const Value sin = builder_.Input("sin", DType::kF16, table);
      rotary_ = RotaryTables(builder_, cos, sin);
    }
    const Value mask = builder_.Input("mask", DType::kF16, Shape{1, keys(), 1, tokens()});
    mask_ = builder_.Reshape("mask_of_head", mask, {1, 1, Narrow(keys()), Narrow(tokens())});
  }

  Value Project(size_t which, const std::string& name) { return ProjectFrom(x_, which, name); }

  Value ProjectFrom(const Value& from, size_t which, const std::string& name) {
    const Projection projection = ProjectionsOf(shape_, weights_)[which];
    const Value weight = DeclareConvWeight(builder_, std::string("w_") + projection.name,
                                           projection.matrix, projection.shape, 1);
    GraphBuilder::ConvOptions options;
    if (!IsAbsent(projection.bias)) {
      options.bias = builder_.Weight(std::string("b_") + projection.name, DType::kF16,
                                     Shape{projection.shape.out}, projection.bias);
    }
    return builder_.Conv(name, from, weight, options);
  }

  Value Clipped(const Value& value, const std::string& name) {
    if (shape_.clip_qkv == 0) return value;
    return builder_.Clip(name, value, -shape_.clip_qkv, shape_.clip_qkv);
  }

  // [1, heads * d, 1, tokens] <-> [1, heads, d, tokens]
  Value Heads(const std::string& name, const Value& flat, int heads) {
    const int64_t channels = flat.shape.rank() == 4 ? flat.shape[1] / heads : 0;
    return builder_.Reshape(name, flat, {1, heads, Narrow(channels), Narrow(flat.shape[3])});
  }
  Value Flat(const std::string& name, const Value& heads) {
    return builder_.Reshape(name, heads, {1, -1, 1, Narrow(tokens())});
  }

  // Projected, normed and clipped queries (or keys), as heads.
  Value Normed(const std::string& name, int heads) {
    const bool query = name == "query";
    Value value = Project(query ? 0 : 1, name);
    const WeightData& gain = query ? weights_.query_norm : weights_.key_norm;
    const SafeRmsNorm norm{shape_.norm_epsilon, name + "_norm"};
    if (shape_.head_norm == HeadNorm::kWholeWidth) {
      const Value gamma =
          builder_.Weight("g_" + name, DType::kF16, Shape{1, value.shape[1], 1, 1}, gain);
      value = norm.Write(builder_, value, 1, gamma);
    }
    value = Heads(name + "_heads", value, heads);
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
    return Heads(name + "_heads", all, shape_.num_kv_heads);
  }

  // Each head of a value by itself: [1, 1, d, n].
  std::vector<Value> EachHead(const std::string& name, const Value& heads, int count) {
    if (count == 1) return {heads};
    return builder_.Split(name, heads, std::vector<int32_t>(static_cast<size_t>(count), 1), 1);
  }

  Value Attend(const Value& queries, const Value& all_keys, const Value& all_values) {
    const std::vector<Value> query = EachHead("query_head", queries, shape_.num_heads);
    const std::vector<Value> key = EachHead("key_head", all_keys, shape_.num_kv_heads);
    const std::vector<Value> value = EachHead("value_head", all_values, shape_.num_kv_heads);
    std::vector<Value> attended;
    for (size_t head = 0; head < query.size(); ++head) {
      const size_t shared = head * key.size() / query.size();
      if (shared >= value.size()) return {};  // after an error of the builder
      attended.push_back(AttendHead(head, query[head], key[shared], value[shared]));
    }
    const Value heads =
        attended.size() == 1 ? attended.front() : builder_.Concat("attended_heads", attended, 1);
    return Flat("attended", heads);
  }

  // query [1, 1, d, C], key [1, 1, d, S], value [1, 1, v, S] -> [1, 1, v, C]. Logits [1, 1, S, C]:
  // keys on the axis that softmax runs over.
  Value AttendHead(size_t head, const Value& query, const Value& key, const Value& value) {
    const std::string suffix = "_" + std::to_string(head);
    const Value logits =
        builder_.MatMul("logits" + suffix, key, Operand::kTransposed, query, Operand::kAsIs);
    const Value masked = builder_.Add("masked" + suffix, logits, mask_);
    const Value shares = weights_.sinks.empty() ? builder_.Softmax("shares" + suffix, masked, 2)
                                                : SharesBesideSink(head, suffix, masked);
    return builder_.MatMul("attended" + suffix, value, Operand::kAsIs, shares, Operand::kAsIs);
  }

  // The sink takes its share of the softmax and gives nothing.
  Value SharesBesideSink(size_t head, const std::string& suffix, const Value& masked) {
    const Value sink =
        builder_.Floats("sink" + suffix, DType::kF16, Shape{1, 1, 1, tokens()},
                        std::vector<float>(static_cast<size_t>(tokens()), weights_.sinks[head]));
    const Value with_sink = builder_.Concat("logits_and_sink" + suffix, {masked, sink}, 2);
    const Value shares = builder_.Softmax("shares_and_sink" + suffix, with_sink, 2);
    return builder_.Slice("shares" + suffix, shares, {0, 0, 0, 0},
                          {1, 1, Narrow(keys()), Narrow(tokens())});
  }

  const AttentionProgramShape& shape_;
  const AttentionProgramWeights& weights_;
  const AttentionExtent& extent_;
  GraphBuilder builder_;
  Value x_, mask_;
  std::optional<RotaryTables> rotary_;
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
