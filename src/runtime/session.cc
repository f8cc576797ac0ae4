#include "runtime/session.h"

#include <fmt/format.h>

#include <new>
#include <utility>

#include "runtime/decode.h"
#include "runtime/kv_cache.h"
#include "runtime/layer.h"
#include "runtime/npu_executor.h"
#include "runtime/prefill.h"

namespace npumoe {
namespace {

class ModelSession final : public Session {
 public:
  ModelSession(std::shared_ptr<const Model> model, ThreadPool& pool, int64_t context_tokens,
               const SessionOptions& options)
      : model_(std::move(model)),
        options_(options),
        cache_(model_->config.num_layers, model_->config.attention.kv_size(), context_tokens),
        context_(*model_, pool, cache_, options.observer) {}

  Result<PrefillResult> Prefill(std::span<const int32_t> ids, LogitsWanted wanted,
                                const std::function<bool()>& cancelled) override;
  Result<std::span<const float>> Decode(int32_t id) override;
  int64_t position() const override { return position_; }
  int64_t context_tokens() const override { return cache_.max_tokens(); }
  Status Rewind(int64_t position) override;
  const Model& model() const override { return *model_; }

 private:
  Status CheckIds(std::span<const int32_t> ids) const;
  Status CheckRoom(int64_t tokens) const;

  std::shared_ptr<const Model> model_;
  SessionOptions options_;
  KvCache cache_;
  LayerContext context_;
  ChunksInFlight chunks_;
  DecodeState decode_;
  int64_t position_ = 0;
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
  if (tokens <= limit - position_) return OkStatus();
  const std::string history =
      position_ == 0 ? "" : fmt::format(" after {} tokens of earlier turns", position_);
  return InvalidInput(fmt::format(
      "the prompt has {} tokens{}, the context holds {}; shorten it or raise the context size (-c, "
      "at most {} for this model)",
      tokens, history, limit, model_->config.max_position_embeddings));
}

Result<PrefillResult> ModelSession::Prefill(std::span<const int32_t> ids, LogitsWanted wanted,
                                            const std::function<bool()>& cancelled) {
  const auto tokens = static_cast<int64_t>(ids.size());
  NPUMOE_RETURN_IF_ERROR(CheckIds(ids));
  NPUMOE_RETURN_IF_ERROR(CheckRoom(tokens));
  NPUMOE_RETURN_IF_ERROR(cache_.Reserve(position_ + tokens));
  try {
    NPUMOE_ASSIGN_OR_RETURN(
        PrefillResult result,
        RunPrefill(context_, chunks_,
                   {ids, position_, wanted, options_.cpu_chunk_tokens, options_.npu, cancelled}));
    position_ += tokens;
    return result;
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(fmt::format(
        "no memory for a prefill of {} tokens{}; use a smaller chunk or a shorter prompt", tokens,
        wanted == LogitsWanted::kAllRows ? " with the logits of every token" : ""));
  }
}

Result<std::span<const float>> ModelSession::Decode(int32_t id) {
  NPUMOE_RETURN_IF_ERROR(CheckIds({&id, 1}));
  if (position_ == cache_.max_tokens()) {
    return InvalidInput(
        fmt::format("the context of {} tokens is full; raise the context size (-c, "
                    "at most {} for this model) or start again",
                    cache_.max_tokens(), model_->config.max_position_embeddings));
  }
  NPUMOE_RETURN_IF_ERROR(cache_.Reserve(position_ + 1));
  try {
    DecodeToken(context_, id, position_, decode_);
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory to decode a token");
  }
  ++position_;
  return std::span<const float>(decode_.logits);
}

Status ModelSession::Rewind(int64_t position) {
  if (position < 0 || position > position_) {
    return InvalidInput(
        fmt::format("cannot rewind to {}; the context holds {} tokens", position, position_));
  }
  position_ = position;
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
    for (const DegradationEvent& event : options.npu->TakeEvents()) {
      options.observer->OnDegradation(event);
    }
  }
  return std::unique_ptr<Session>(
      std::make_unique<ModelSession>(std::move(model), pool, context_tokens, options));
}

}  // namespace npumoe
