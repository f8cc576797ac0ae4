#include "runtime/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

#include "runtime/decode.h"
#include "runtime/kv_cache.h"
#include "runtime/layer.h"
#include "runtime/npu_executor.h"
#include "runtime/prefill.h"

namespace npumoe {
namespace {

KvRowSizes RowSizes(const AttentionConfig& attention) {
  if (attention.latent) return {attention.latent->cache_size(), 0};
  return {attention.kv_size(), attention.kv_size()};
}

class ModelSession final : public Session {
 public:
  ModelSession(std::shared_ptr<const Model> model, ThreadPool& pool, int64_t context_tokens,
               const SessionOptions& options)
      : model_(std::move(model)),
        options_(options),
        cache_(model_->config.num_layers, RowSizes(model_->config.attention), context_tokens),
        context_(*model_, pool, cache_, options.observer) {}

  Result<PrefillResult> Prefill(std::span<const int32_t> ids, LogitsWanted wanted,
                                const std::function<bool()>& cancelled) override;
  Result<std::span<const float>> Decode(int32_t id,
                                        const std::function<bool()>& cancelled) override;
  const ComputedAgain& computed_again() const override { return computed_again_; }
  int64_t position() const override { return static_cast<int64_t>(ids_.size()); }
  int64_t context_tokens() const override { return cache_.max_tokens(); }
  Status Rewind(int64_t to) override;
  const Model& model() const override { return *model_; }

 private:
  // Appends to the cache what is missing there of `context` (all tokens from the first), with the
  // frequencies of a context of `tokens`.
  Result<PrefillResult> Compute(std::span<const int32_t> context, int64_t tokens,
                                LogitsWanted wanted, const std::function<bool()>& cancelled);
  // That of a context of `tokens`; what the cache holds in the other one is void.
  void ChooseRotation(int64_t tokens);
  Status CheckIds(std::span<const int32_t> ids) const;
  Status CheckRoom(int64_t tokens) const;

  std::shared_ptr<const Model> model_;
  SessionOptions options_;
  KvCache cache_;
  LayerContext context_;
  ChunksInFlight chunks_;
  DecodeState decode_;
  std::vector<int32_t> ids_;  // the context
  // What the cache holds of it: its first rows, computed with context_.rope_length.
  int64_t cached_ = 0;
  ComputedAgain computed_again_;
};

Status ModelSession::CheckIds(std::span<const int32_t> ids) const {
  if (ids.empty()) return InvalidInput("the prompt is empty; give at least one token");
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < model_->config.vocab_size) continue;
    return InvalidInput(fmt::format("token {} of the prompt has the id {}; the model knows 0 to {}",
                                    i, ids[i], model_->config.vocab_size - 1));
  }
  return OkStatus();
}

Status ModelSession::CheckRoom(int64_t tokens) const {
  const int64_t limit = cache_.max_tokens();
  if (tokens <= limit - position()) return OkStatus();
  const std::string history =
      position() == 0 ? "" : fmt::format(" after {} tokens of earlier turns", position());
  return InvalidInput(fmt::format(
      "the prompt has {} tokens{}, the context holds {}; shorten it or raise the context size (-c, "
      "at most {} for this model)",
      tokens, history, limit, model_->config.max_position_embeddings));
}

void ModelSession::ChooseRotation(int64_t tokens) {
  const RopeLength length = context_.ropes.LengthFor(tokens);
  if (length != context_.rope_length) cached_ = 0;
  context_.rope_length = length;
}

Result<PrefillResult> ModelSession::Compute(std::span<const int32_t> context, int64_t tokens,
                                            LogitsWanted wanted,
                                            const std::function<bool()>& cancelled) {
  ChooseRotation(tokens);
  const int64_t again = position() - cached_;
  PrefillRequest request;
  request.ids = context.subspan(static_cast<size_t>(cached_));
  request.position = cached_;
  request.computed_again = again;
  request.wanted = wanted;
  request.cpu_chunk_tokens = options_.cpu_chunk_tokens;
  request.npu = options_.npu;
  request.cancelled = cancelled;
  NPUMOE_ASSIGN_OR_RETURN(PrefillResult result, RunPrefill(context_, chunks_, request));
  cached_ = static_cast<int64_t>(context.size());
  if (again > 0) {
    ++computed_again_.times;
    computed_again_.tokens += again;
  }
  return result;
}

Result<PrefillResult> ModelSession::Prefill(std::span<const int32_t> ids, LogitsWanted wanted,
                                            const std::function<bool()>& cancelled) {
  const auto tokens = static_cast<int64_t>(ids.size());
  NPUMOE_RETURN_IF_ERROR(CheckIds(ids));
  NPUMOE_RETURN_IF_ERROR(CheckRoom(tokens));
  NPUMOE_RETURN_IF_ERROR(cache_.Reserve(position() + tokens));
  try {
    std::vector<int32_t> context = ids_;
    context.insert(context.end(), ids.begin(), ids.end());
    NPUMOE_ASSIGN_OR_RETURN(PrefillResult result,
                            Compute(context, position() + tokens, wanted, cancelled));
    ids_ = std::move(context);
    return result;
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(fmt::format(
        "no memory for a prefill of {} tokens{}; use a smaller chunk or a shorter prompt", tokens,
        wanted == LogitsWanted::kAllRows ? " with the logits of every token" : ""));
  }
}

Result<std::span<const float>> ModelSession::Decode(int32_t id,
                                                    const std::function<bool()>& cancelled) {
  NPUMOE_RETURN_IF_ERROR(CheckIds({&id, 1}));
  if (position() == cache_.max_tokens()) {
    return InvalidInput(
        fmt::format("the context of {} tokens is full; raise the context size (-c, "
                    "at most {} for this model) or start again",
                    cache_.max_tokens(), model_->config.max_position_embeddings));
  }
  NPUMOE_RETURN_IF_ERROR(cache_.Reserve(position() + 1));
  try {
    ChooseRotation(position() + 1);
    if (cached_ < position()) {
      NPUMOE_ASSIGN_OR_RETURN(const PrefillResult again,
                              Compute(ids_, position() + 1, LogitsWanted::kLastRow, cancelled));
      computed_again_.time_ms += again.time_ms;
      computed_again_.wall_ms += again.wall_ms;
    }
    NPUMOE_RETURN_IF_ERROR(DecodeToken(context_, id, position(), decode_));
    ids_.push_back(id);
    cached_ = position();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory to decode a token");
  }
  return std::span<const float>(decode_.logits);
}

Status ModelSession::Rewind(int64_t to) {
  if (to < 0 || to > position()) {
    return InvalidInput(
        fmt::format("cannot rewind to {}; the context holds {} tokens", to, position()));
  }
  ids_.resize(static_cast<size_t>(to));
  cached_ = std::min(cached_, to);
  return OkStatus();
}

Result<int64_t> ContextTokens(const Model& model, int64_t wanted) {
  const int64_t limit = model.config.max_position_embeddings;
  if (wanted >= 0 && wanted <= limit) return wanted == 0 ? limit : wanted;
  return InvalidInput(fmt::format(
      "a context of {} tokens; this model allows 1 to {} (0 means the largest)", wanted, limit));
}

}  // namespace

Result<std::unique_ptr<Session>> Session::Create(std::shared_ptr<const Model> model,
                                                 ThreadPool& pool, const SessionOptions& options) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t context_tokens,
                          ContextTokens(*model, options.context_tokens));
  if (options.cpu_chunk_tokens < 1) {
    return UsageError(
        fmt::format("a chunk of {} tokens; at least 1 is needed", options.cpu_chunk_tokens));
  }
  if (options.npu != nullptr && options.npu->model().hash != model->hash) {
    return InvalidInput("the plan's programs were loaded for another model");
  }
  if (options.npu != nullptr && options.observer != nullptr) {
    for (const DegradationEvent& event : options.npu->launches().TakeEvents()) {
      options.observer->OnDegradation(event);
    }
  }
  return std::unique_ptr<Session>(
      std::make_unique<ModelSession>(std::move(model), pool, context_tokens, options));
}

}  // namespace npumoe
