#include "runtime/attention_function.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/dtype.h"
#include "graph/attention_program.h"

namespace npumoe {
namespace {

Result<size_t> FindInput(const Program& program, const Graph& graph, const std::string& name) {
  const auto declared = std::find_if(graph.inputs.begin(), graph.inputs.end(),
                                     [&](const TensorSpec& spec) { return spec.name == name; });
  NPUMOE_CHECK(declared != graph.inputs.end());
  return FindSpec(program.inputs(), *declared, "input");
}

Result<size_t> FindOutput(const Program& program, const Graph& graph, const std::string& name) {
  const TensorSpec* declared = graph.Find(name);
  NPUMOE_CHECK(declared != nullptr);
  return FindSpec(program.outputs(), *declared, "output");
}

// How the output is called that continues an input of the cache.
constexpr std::string_view kFresh = "new_";

// Rows as columns of a static buffer: row r goes to column r, zeros behind.
void GatherAll(ConstMatrix rows, int64_t capacity, uint16_t* out, ThreadPool& pool) {
  std::vector<int32_t> all(static_cast<size_t>(rows.rows));
  std::iota(all.begin(), all.end(), 0);
  GatherTransposedF16(rows, all, 1, capacity, out, pool);
}

}  // namespace

Result<std::unique_ptr<AttentionFunction>> AttentionFunction::Bind(std::unique_ptr<Program> program,
                                                                   const Graph& graph,
                                                                   const ProgramId& id) {
  std::unique_ptr<AttentionFunction> bound(new AttentionFunction());
  Places& places = bound->places_;
  NPUMOE_ASSIGN_OR_RETURN(places.x, FindInput(*program, graph, "x"));
  NPUMOE_ASSIGN_OR_RETURN(places.mask, FindInput(*program, graph, "mask"));
  NPUMOE_ASSIGN_OR_RETURN(places.y, FindOutput(*program, graph, "y"));
  const Shape& mask = program->inputs()[places.mask].shape;  // [1, history + chunk, 1, chunk]
  bound->chunk_tokens_ = mask[3];
  bound->history_tokens_ = mask[1] - mask[3];
  bound->rotates_ = std::any_of(graph.inputs.begin(), graph.inputs.end(),
                                [](const TensorSpec& spec) { return spec.name == "cos"; });
  if (bound->rotates_) {
    NPUMOE_ASSIGN_OR_RETURN(places.cos, FindInput(*program, graph, "cos"));
    NPUMOE_ASSIGN_OR_RETURN(places.sin, FindInput(*program, graph, "sin"));
  }
  bound->loaded_ = {id, std::move(program)};
  NPUMOE_RETURN_IF_ERROR(bound->FindCacheParts(graph));
  return bound;
}

// Each output "new_PART" belongs to the input "PART", which the first chunk has not.
Status AttentionFunction::FindCacheParts(const Graph& graph) {
  for (const std::string& name : graph.outputs) {
    if (!name.starts_with(kFresh)) continue;
    CachePart part;
    NPUMOE_ASSIGN_OR_RETURN(part.fresh, FindOutput(*loaded_.program, graph, name));
    if (history_tokens_ > 0) {
      NPUMOE_ASSIGN_OR_RETURN(part.past,
                              FindInput(*loaded_.program, graph, name.substr(kFresh.size())));
    }
    places_.cache.push_back(part);
  }
  return OkStatus();
}

void AttentionFunction::Feed(const AttentionSpan& span, ConstMatrix normed,
                             std::span<const Matrix> cached, const RotaryRows& rotary,
                             std::span<DeviceBuffer* const> inputs, ThreadPool& pool) const {
  NPUMOE_CHECK(span.tokens <= chunk_tokens_ && span.history <= history_tokens_);
  NPUMOE_CHECK(cached.size() == places_.cache.size());
  GatherAll(normed, chunk_tokens_, Fp16Of(inputs[places_.x]), pool);
  FillMask(span, Fp16Of(inputs[places_.mask]), pool);
  if (rotates_) {
    std::memcpy(Fp16Of(inputs[places_.cos]), rotary.cos.data(), rotary.cos.size_bytes());
    std::memcpy(Fp16Of(inputs[places_.sin]), rotary.sin.data(), rotary.sin.size_bytes());
  }
  if (history_tokens_ == 0) return;
  for (size_t part = 0; part < cached.size(); ++part) {
    GatherAll(cached[part], history_tokens_, Fp16Of(inputs[places_.cache[part].past]), pool);
  }
}

// mask[s * chunk + t]: key s for query t. Keys 0 .. history - 1 are the cached ones, the chunk's
// own begin at history_tokens_. Rows behind `tokens` are nobody's, but see themselves, so that
// their softmax has something to share out.
void AttentionFunction::FillMask(const AttentionSpan& span, uint16_t* mask,
                                 ThreadPool& pool) const {
  const uint16_t masked = F16FromF32(kMaskedOut);
  const int64_t keys = history_tokens_ + chunk_tokens_;
  pool.ParallelRanges(keys, 64, [&](int64_t begin, int64_t end, int) {
    for (int64_t s = begin; s < end; ++s) {
      uint16_t* row = mask + s * chunk_tokens_;
      const bool in_chunk = s >= history_tokens_;
      // Its place relative to the chunk's first token.
      const int64_t key = in_chunk ? s - history_tokens_ : s - span.history;
      const bool given = in_chunk || s < span.history;
      const int64_t first = std::clamp<int64_t>(key, 0, chunk_tokens_);
      const int64_t last = span.window == 0
                               ? chunk_tokens_
                               : std::clamp<int64_t>(key + span.window, first, chunk_tokens_);
      std::fill(row, row + chunk_tokens_, masked);
      if (given) std::fill(row + first, row + last, uint16_t{0});
    }
  });
}

OutputRow AttentionFunction::RowOf(size_t output, int64_t row,
                                   std::span<DeviceBuffer* const> outputs) const {
  return {Fp16Of(outputs[output]) + row, chunk_tokens_, OutputRow::Layout::kF16Column};
}

OutputRow AttentionFunction::Attended(int64_t row, std::span<DeviceBuffer* const> outputs) const {
  return RowOf(places_.y, row, outputs);
}
OutputRow AttentionFunction::NewCached(size_t part, int64_t row,
                                       std::span<DeviceBuffer* const> outputs) const {
  return RowOf(places_.cache[part].fresh, row, outputs);
}

bool AttentionFunction::IsFinite(int64_t rows, std::span<DeviceBuffer* const> outputs) const {
  std::vector<size_t> all = {places_.y};
  for (const CachePart& part : places_.cache) all.push_back(part.fresh);
  for (const size_t output : all) {
    const int64_t channels = loaded_.program->outputs()[output].shape[1];
    const uint16_t* values = Fp16Of(outputs[output]);
    for (int64_t c = 0; c < channels; ++c) {
      if (!AreFinite(values + c * chunk_tokens_, rows)) return false;
    }
  }
  return true;
}

}  // namespace npumoe
