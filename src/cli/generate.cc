#include "cli/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "base/clock.h"
#include "cli/interrupt.h"
#include "model/tokenizer.h"

namespace npumoe::cli {
namespace {

// Longest common prefix, but at least one token is left to prefill: its logits are needed.
int64_t SharedPrefix(std::span<const int32_t> context, std::span<const int32_t> prompt) {
  const size_t limit = std::min(context.size(), prompt.size() - 1);
  size_t shared = 0;
  while (shared < limit && context[shared] == prompt[shared]) ++shared;
  return static_cast<int64_t>(shared);
}

class Writer {
 public:
  Writer(const Model& model, bool stream) : model_(model), stream_(stream) {
    if (model.tokenizer != nullptr) decoder_.emplace(*model.tokenizer, DecodeSpecial::kSkip);
  }
  Status Add(int32_t id, std::string& text) {
    if (!decoder_) return Emit(fmt::format("{} ", id), text);
    // Models pad their vocabulary: an id that the tokenizer does not know prints nothing.
    if (id >= model_.tokenizer->vocab_size()) return OkStatus();
    NPUMOE_ASSIGN_OR_RETURN(const std::string piece, decoder_->Add(id));
    return Emit(piece, text);
  }
  Status Finish(std::string& text) {
    return decoder_ ? Emit(decoder_->Finish(), text) : OkStatus();
  }

 private:
  Status Emit(const std::string& piece, std::string& text) {
    text += piece;
    if (!stream_ || piece.empty()) return OkStatus();
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    if (std::fflush(stdout) != 0) return IoError("standard output cannot be written");
    return OkStatus();
  }
  const Model& model_;
  bool stream_;
  std::optional<StreamDecoder> decoder_;
};

bool IsEnd(const std::vector<int32_t>& ends, int32_t id) {
  return std::find(ends.begin(), ends.end(), id) != ends.end();
}

Status DecodeLoop(Session& session, std::vector<int32_t>& context, const GenerateOptions& options,
                  int64_t context_limit, std::vector<float> logits, Generation& generation) {
  const Model& model = session.model();
  Writer writer(model, options.stream);
  Sampler sampler(options.sampling, options.seed);
  std::span<const float> row = logits;
  for (;;) {
    const auto count = static_cast<int64_t>(generation.ids.size());
    if (options.max_tokens >= 0 && count >= options.max_tokens) break;
    const int32_t id = sampler.Sample(row);
    if (!std::isfinite(row[static_cast<size_t>(id)])) {
      return Status(StatusCode::kNumeric,
                    "the model's logits are not finite numbers; its weights may be damaged");
    }
    if (IsEnd(options.end_tokens, id)) {
      generation.stop = StopReason::kEndToken;
      break;
    }
    generation.ids.push_back(id);
    NPUMOE_RETURN_IF_ERROR(writer.Add(id, generation.text));
    if (InterruptGuard::Interrupted()) {
      generation.stop = StopReason::kInterrupted;
      break;
    }
    if (session.position() >= context_limit) {
      generation.stop = StopReason::kContextFull;
      break;
    }
    if (options.max_tokens >= 0 && count + 1 >= options.max_tokens) break;
    const double again_ms = session.computed_again().wall_ms;
    Stopwatch watch;
    const auto next = session.Decode(id, [] { return InterruptGuard::Interrupted(); });
    if (next.status().code() == StatusCode::kCancelled) {
      generation.stop = StopReason::kInterrupted;
      break;
    }
    if (!next.ok()) return next.status();
    row = *next;
    generation.decode_ms += watch.ElapsedMs() - (session.computed_again().wall_ms - again_ms);
    ++generation.decode_steps;
    context.push_back(id);
  }
  return writer.Finish(generation.text);
}

}  // namespace

const char* Name(StopReason reason) {
  switch (reason) {
    case StopReason::kEndToken:
      return "end_token";
    case StopReason::kLength:
      return "length";
    case StopReason::kContextFull:
      return "context_full";
    case StopReason::kInterrupted:
      return "interrupted";
  }
  return "unknown";
}

double Generation::DecodeTokensPerSecond() const {
  return decode_ms <= 0 ? 0 : static_cast<double>(decode_steps) / decode_ms * 1000;
}

Result<Generation> Generate(Session& session, std::vector<int32_t>& context,
                            std::span<const int32_t> prompt, const GenerateOptions& options) {
  if (prompt.empty()) return InvalidInput("the prompt is empty: give at least one token");
  Generation generation;
  const Session::ComputedAgain before = session.computed_again();
  const int64_t shared = SharedPrefix(context, prompt);
  NPUMOE_RETURN_IF_ERROR(session.Rewind(shared));
  context.resize(static_cast<size_t>(shared));
  Result<PrefillResult> prefill =
      session.Prefill(prompt.subspan(static_cast<size_t>(shared)), LogitsWanted::kLastRow,
                      [] { return InterruptGuard::Interrupted(); });
  if (!prefill.ok() && prefill.status().code() == StatusCode::kCancelled) {
    generation.stop = StopReason::kInterrupted;
    return generation;
  }
  if (!prefill.ok()) return prefill.status();
  context.assign(prompt.begin(), prompt.end());
  std::vector<float> logits = std::move(prefill->logits);
  generation.prefill = std::move(*prefill);
  NPUMOE_RETURN_IF_ERROR(DecodeLoop(session, context, options, session.context_tokens(),
                                    std::move(logits), generation));
  const Session::ComputedAgain& after = session.computed_again();
  generation.computed_again = {after.times - before.times, after.tokens - before.tokens,
                               after.time_ms - before.time_ms, after.wall_ms - before.wall_ms};
  return generation;
}

}  // namespace npumoe::cli
