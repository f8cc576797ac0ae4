#include "runtime/prefill.h"

#include <algorithm>
#include <utility>

#include "plan/schedule.h"
#include "runtime/npu_head.h"
#include "runtime/routing.h"

namespace npumoe {
namespace {

// Chunks in token indices of the context.
std::vector<ChunkSpan> CutPrompt(const PrefillRequest& request) {
  const auto tokens = static_cast<int64_t>(request.ids.size());
  std::vector<ChunkSpan> chunks;
  if (request.npu != nullptr) {
    chunks = CutIntoChunks(request.npu->plan(), request.npu->costs(), tokens, request.position);
    NPUMOE_CHECK(!chunks.empty() && chunks.back().end - chunks.front().begin == tokens);
    const int64_t shift = request.position - chunks.front().begin;
    for (ChunkSpan& chunk : chunks) {
      chunk.begin += shift;
      chunk.end += shift;
    }
    return chunks;
  }
  for (int64_t begin = 0; begin < tokens; begin += request.cpu_chunk_tokens) {
    const int64_t end = std::min<int64_t>(begin + request.cpu_chunk_tokens, tokens);
    chunks.push_back({request.position + begin, request.position + end, ChunkPlace::kCpu});
  }
  return chunks;
}

// One prefill from its first chunk to its logits.
class PrefillRun {
 public:
  PrefillRun(LayerContext& context, ChunksInFlight& slots, const PrefillRequest& request)
      : context_(context), slots_(slots), request_(request) {
    context_.timeline = &timeline_;
    context_.stages = {};
    context_.dense_launches = 0;
    result_.chunks = CutPrompt(request);
    slot_of_.assign(result_.chunks.size(), nullptr);
  }
  // Nothing of a prefill that was cancelled or failed stays in flight.
  ~PrefillRun() {
    context_.timeline = nullptr;
    if (request_.npu != nullptr) request_.npu->launches().Drain();
    for (ChunkInFlight& slot : slots_) {
      if (slot.attention.function != nullptr) {
        request_.npu->launches().Release(slot.attention.launch);
      }
      slot.attention.function = nullptr;
      for (size_t i = 0; i < slot.moe.num_launches; ++i) {
        request_.npu->launches().Release(slot.moe.launches[i].launch);
      }
      slot.moe.num_launches = 0;
      slot.is_free = true;
    }
  }
  PrefillRun(const PrefillRun&) = delete;
  PrefillRun& operator=(const PrefillRun&) = delete;

  Result<PrefillResult> Run() {
    Stopwatch watch;
    AllocateLogits();
    Schedule schedule(static_cast<int>(result_.chunks.size()), context_.config.num_layers,
                      ChunksAtOnce());
    while (const auto step = schedule.Next([&](int chunk) { return LaunchesDoneOf(chunk); })) {
      if (step->stage == Stage::kAttention && request_.cancelled && request_.cancelled()) {
        return Status(StatusCode::kCancelled, "prefill was cancelled");
      }
      NPUMOE_RETURN_IF_ERROR(Execute(*step));
      schedule.Finished(*step);
    }
    return Finish(watch.ElapsedMs());
  }

 private:
  void AllocateLogits() {
    const int64_t rows = request_.wanted == LogitsWanted::kAllRows ? NewTokens() : 1;
    result_.logits.resize(static_cast<size_t>(rows) *
                          static_cast<size_t>(context_.config.vocab_size));
  }

  int64_t NewTokens() const {
    return static_cast<int64_t>(request_.ids.size()) - request_.computed_again;
  }

  // Hidden rows are promised in order, and a later chunk may leave a layer first.
  int ChunksAtOnce() const {
    if (request_.npu == nullptr) return 1;
    const bool in_order = context_.observer != nullptr && context_.observer->WantsHidden();
    return in_order ? 1 : request_.npu->chunks_in_flight();
  }

  bool IsMoe(int layer) const { return context_.config.is_moe_layer[static_cast<size_t>(layer)]; }

  // Null where the chunk runs on the CPU.
  NpuExecutor* NpuOf(int chunk) const {
    const ChunkSpan& span = result_.chunks[static_cast<size_t>(chunk)];
    return span.place == ChunkPlace::kNpu ? request_.npu : nullptr;
  }

  bool LaunchesDoneOf(int chunk) {
    const ChunkInFlight* slot = slot_of_[static_cast<size_t>(chunk)];
    return slot == nullptr || (AttentionDone(context_, request_.npu, slot->attention) &&
                               LaunchesDone(context_, request_.npu, slot->moe));
  }

  // The slot of a chunk; its first step takes a free one and embeds the tokens.
  ChunkInFlight& SlotOf(int chunk) {
    ChunkInFlight*& slot = slot_of_[static_cast<size_t>(chunk)];
    if (slot != nullptr) return *slot;
    const auto free = std::find_if(slots_.begin(), slots_.end(),
                                   [](const ChunkInFlight& s) { return s.is_free; });
    NPUMOE_CHECK(free != slots_.end());
    slot = &*free;
    slot->is_free = false;
    const ChunkSpan& span = result_.chunks[static_cast<size_t>(chunk)];
    slot->rows.chunk = chunk;
    slot->rows.position = span.begin;
    slot->rows.tokens = span.end - span.begin;
    EmbedTokens(context_,
                request_.ids.subspan(static_cast<size_t>(span.begin - request_.position),
                                     static_cast<size_t>(slot->rows.tokens)),
                slot->rows);
    return *slot;
  }

  Status Execute(const Step& step) {
    ChunkInFlight& slot = SlotOf(step.chunk);
    switch (step.stage) {
      case Stage::kAttention:
        StartAttention(context_, NpuOf(step.chunk), step.layer, slot.rows, slot.attention);
        break;
      case Stage::kRouting:
        FinishAttention(context_, NpuOf(step.chunk), step.layer, slot.rows, slot.attention);
        if (IsMoe(step.layer)) {
          NPUMOE_RETURN_IF_ERROR(
              RouteTokens(context_, step.layer, Phase::kPrefill, slot.rows, slot.moe));
          StartExperts(context_, NpuOf(step.chunk), step.layer, slot.rows, slot.moe);
        } else {
          NormForFfn(context_, step.layer, slot.rows);
        }
        break;
      case Stage::kCpuExperts:
        if (IsMoe(step.layer)) {
          RunCpuExperts(context_, step.layer, slot.rows, slot.moe);
        } else {
          RunDenseFfn(context_, step.layer, slot.rows);
        }
        break;
      case Stage::kCombine:
        if (IsMoe(step.layer)) {
          CombineExperts(context_, NpuOf(step.chunk), step.layer, slot.rows, slot.moe);
          result_.counts += slot.moe.counts;
        }
        return FinishLayer(step, slot);
    }
    return OkStatus();
  }

  Status FinishLayer(const Step& step, ChunkInFlight& slot) {
    TellObserver(step.layer, slot.rows);
    if (step.layer + 1 < context_.config.num_layers) return OkStatus();
    NPUMOE_RETURN_IF_ERROR(FinishChunk(slot));
    slot_of_[static_cast<size_t>(step.chunk)] = nullptr;
    slot.is_free = true;
    return OkStatus();
  }

  void TellObserver(int layer, ChunkRows& rows) {
    if (request_.npu != nullptr) {
      for (const DegradationEvent& event : request_.npu->launches().TakeEvents()) {
        if (context_.observer != nullptr) context_.observer->OnDegradation(event);
      }
    }
    if (context_.observer == nullptr || !context_.observer->WantsHidden()) return;
    const auto size = static_cast<size_t>(rows.tokens * context_.config.hidden_size);
    context_.observer->OnHidden(
        {layer, rows.position, rows.tokens, rows.hidden.span().first(size)});
  }

  Status FinishChunk(ChunkInFlight& slot) {
    NPUMOE_RETURN_IF_ERROR(CheckResidual(context_, slot.rows));
    const int64_t first = slot.rows.position - request_.position;
    const auto total = static_cast<int64_t>(request_.ids.size());
    if (request_.wanted == LogitsWanted::kAllRows) {
      const int64_t skipped =
          std::clamp<int64_t>(request_.computed_again - first, 0, slot.rows.tokens);
      const int64_t row = first + skipped - request_.computed_again;
      if (skipped < slot.rows.tokens) {
        NPUMOE_RETURN_IF_ERROR(RunHeadOn(context_, NpuOf(slot.rows.chunk), slot.rows, skipped,
                                         slot.rows.tokens - skipped,
                                         result_.logits.data() + row * context_.config.vocab_size));
      }
    } else if (first + slot.rows.tokens == total) {
      NPUMOE_RETURN_IF_ERROR(RunHeadOn(context_, NpuOf(slot.rows.chunk), slot.rows,
                                       slot.rows.tokens - 1, 1, result_.logits.data()));
    }
    done_tokens_ += slot.rows.tokens;
    if (context_.observer != nullptr) context_.observer->OnPrefillProgress(done_tokens_, total);
    return OkStatus();
  }

  PrefillResult Finish(double wall_ms) {
    result_.tokens = NewTokens();
    result_.first_position = request_.position + request_.computed_again;
    result_.computed_again = request_.computed_again;
    result_.wall_ms = wall_ms;
    result_.npu_energy_j = timeline_.npu_energy_j();
    result_.timeline = timeline_.Take();
    result_.time_ms = result_.timeline.EndMs();
    result_.dense_launches = context_.dense_launches;
    result_.stages = context_.stages;
    return std::move(result_);
  }

  LayerContext& context_;
  ChunksInFlight& slots_;
  const PrefillRequest& request_;
  PrefillTimeline timeline_;
  PrefillResult result_;
  std::vector<ChunkInFlight*> slot_of_;  // per chunk; null before its start and after its end
  int64_t done_tokens_ = 0;
};

}  // namespace

Result<PrefillResult> RunPrefill(LayerContext& context, ChunksInFlight& slots,
                                 const PrefillRequest& request) {
  return PrefillRun(context, slots, request).Run();
}

}  // namespace npumoe
