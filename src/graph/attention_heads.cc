#include "graph/attention_heads.h"

#include "base/dtype.h"

namespace npumoe {
namespace {

using Value = GraphBuilder::Value;

int32_t Narrow(int64_t value) { return static_cast<int32_t>(value); }

}  // namespace

Status CheckExtent(const AttentionExtent& extent) {
  if (extent.chunk_tokens >= 1 && extent.history_tokens >= 0) return OkStatus();
  return InvalidInput("attention over a chunk of " + std::to_string(extent.chunk_tokens) +
                      " tokens and a history of " + std::to_string(extent.history_tokens) +
                      "; at least 1 and 0 are needed");
}

Status CheckLogitScale(float scale) {
  if (scale > 0 && scale < kF16Max) return OkStatus();
  return InvalidInput("attention with the scale " + std::to_string(scale) +
                      "; a positive number that fp16 holds is needed");
}

Status CheckNormEpsilon(float epsilon) {
  if (epsilon > 0 && epsilon < 1) return OkStatus();
  return InvalidInput("attention whose norms have the epsilon " + std::to_string(epsilon) +
                      "; a number in (0, 1) is needed");
}

Status CheckProjection(const Projection& projection) {
  const std::string what = "attention: " + projection.name;
  NPUMOE_RETURN_IF_ERROR(CheckMatrix(projection.matrix, projection.shape, what));
  if (IsAbsent(projection.bias)) return OkStatus();
  return CheckWeightData(projection.bias, DType::kF16, projection.shape.out, what + " bias");
}

Value Project(GraphBuilder& builder, const std::string& name, const Value& from,
              const Projection& projection) {
  const Value weight =
      DeclareConvWeight(builder, "w_" + projection.name, projection.matrix, projection.shape, 1);
  GraphBuilder::ConvOptions options;
  if (!IsAbsent(projection.bias)) {
    options.bias = builder.Weight("b_" + projection.name, DType::kF16, Shape{projection.shape.out},
                                  projection.bias);
  }
  return builder.Conv(name, from, weight, options);
}

Value ToHeads(GraphBuilder& builder, const std::string& name, const Value& channels, int heads) {
  if (channels.shape.rank() != 4) return {};  // after an error of the builder
  return builder.Reshape(name, channels,
                         {1, heads, Narrow(channels.shape[1] / heads), Narrow(channels.shape[3])});
}

Value ToChannels(GraphBuilder& builder, const std::string& name, const Value& heads) {
  if (heads.shape.rank() != 4) return {};
  return builder.Reshape(name, heads, {1, -1, 1, Narrow(heads.shape[3])});
}

std::vector<Value> EachHead(GraphBuilder& builder, const std::string& name, const Value& heads,
                            int count) {
  if (count == 1) return {heads};
  std::vector<Value> each =
      builder.Split(name, heads, std::vector<int32_t>(static_cast<size_t>(count), 1), 1);
  each.resize(static_cast<size_t>(count));
  return each;
}

Value JoinHeads(GraphBuilder& builder, const std::string& name, const std::vector<Value>& heads) {
  const Value joined =
      heads.size() == 1 ? heads.front() : builder.Concat(name + "_heads", heads, 1);
  return ToChannels(builder, name, joined);
}

HeadAttention::HeadAttention(GraphBuilder& builder, const AttentionExtent& extent)
    : builder_(builder), extent_(extent) {
  const int64_t keys = extent.history_tokens + extent.chunk_tokens;
  const Value mask = builder.Input("mask", DType::kF16, Shape{1, keys, 1, extent.chunk_tokens});
  mask_ = builder.Reshape("mask_of_head", mask, {1, 1, Narrow(keys), Narrow(extent.chunk_tokens)});
}

// Logits [1, 1, keys, C]: keys on the axis that softmax runs over.
Value HeadAttention::Attend(int head, const Value& query, const Value& key, const Value& value,
                            std::optional<float> sink) const {
  const std::string suffix = "_" + std::to_string(head);
  const Value logits =
      builder_.MatMul("logits" + suffix, key, Operand::kTransposed, query, Operand::kAsIs);
  const Value masked = builder_.Add("masked" + suffix, logits, mask_);
  const Value shares = sink ? SharesBesideSink(suffix, masked, *sink)
                            : builder_.Softmax("shares" + suffix, masked, 2);
  return builder_.MatMul("attended" + suffix, value, Operand::kAsIs, shares, Operand::kAsIs);
}

Value HeadAttention::SharesBesideSink(const std::string& suffix, const Value& logits,
                                      float sink) const {
  const int64_t tokens = extent_.chunk_tokens;
  const Value row = builder_.Floats("sink" + suffix, DType::kF16, Shape{1, 1, 1, tokens},
                                    std::vector<float>(static_cast<size_t>(tokens), sink));
  const Value with_sink = builder_.Concat("logits_and_sink" + suffix, {logits, row}, 2);
  const Value shares = builder_.Softmax("shares_and_sink" + suffix, with_sink, 2);
  return builder_.Slice("shares" + suffix, shares, {0, 0, 0, 0},
                        {1, 1, Narrow(extent_.history_tokens + tokens), Narrow(tokens)});
}

}  // namespace npumoe
