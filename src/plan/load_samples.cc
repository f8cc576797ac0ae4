#include "plan/load_samples.h"

#include <algorithm>

namespace npumoe {
namespace {

// [layers][windows] loads [experts].
using Windows = std::vector<std::vector<std::vector<int32_t>>>;

// `count` indices spread evenly over [0, total).
std::vector<size_t> Spread(size_t total, size_t count) {
  std::vector<size_t> indices;
  count = std::min(count, total);
  for (size_t i = 0; i < count; ++i) indices.push_back(i * total / count);
  return indices;
}

// First blocks of windows of `length` whole blocks inside one sequence.
std::vector<size_t> WindowStarts(const Calibration& calibration, size_t length) {
  std::vector<size_t> starts;
  size_t begin = 0;
  for (size_t b = 0; b < calibration.blocks.size(); ++b) {
    if (calibration.blocks[b].starts_sequence) begin = b;
    if (calibration.blocks[b].tokens < kCalibrationBlockTokens) begin = b + 1;
    if (b + 1 >= begin + length) starts.push_back(b + 1 - length);
  }
  return starts;
}

std::vector<int32_t> SumWindow(const LayerCalibration& layer, size_t first, size_t length,
                               size_t experts) {
  std::vector<int32_t> loads(experts, 0);
  for (size_t b = first; b < first + length; ++b) {
    for (size_t e = 0; e < experts; ++e) loads[e] += layer.counts[b * experts + e];
  }
  return loads;
}

void AppendWindows(const Calibration& calibration, int chunk_tokens, size_t wanted,
                   Windows& windows) {
  const auto length = static_cast<size_t>(chunk_tokens / kCalibrationBlockTokens);
  const std::vector<size_t> starts = WindowStarts(calibration, length);
  for (const size_t index : Spread(starts.size(), wanted)) {
    for (size_t l = 0; l < windows.size(); ++l) {
      windows[l].push_back(SumWindow(calibration.layers[l], starts[index], length,
                                     static_cast<size_t>(calibration.num_experts)));
    }
  }
}

// The calibration without its first blocks: its chunks lie between those of the whole.
Calibration WithoutFirstBlocks(const Calibration& calibration, size_t blocks) {
  Calibration rest = calibration;
  rest.blocks.erase(rest.blocks.begin(), rest.blocks.begin() + static_cast<ptrdiff_t>(blocks));
  const size_t counts = blocks * static_cast<size_t>(calibration.num_experts);
  for (LayerCalibration& layer : rest.layers) {
    layer.counts.erase(layer.counts.begin(), layer.counts.begin() + static_cast<ptrdiff_t>(counts));
  }
  return rest;
}

// The same for a stream whose borders are ignored: chunks of the stream from later first blocks.
Status AppendShifted(const Calibration& calibration, int chunk_tokens, size_t wanted,
                     Windows& windows) {
  const auto length = static_cast<size_t>(chunk_tokens / kCalibrationBlockTokens);
  const auto experts = static_cast<size_t>(calibration.num_experts);
  const auto per_shift = std::max<size_t>(
      1, static_cast<size_t>(calibration.tokens()) / static_cast<size_t>(chunk_tokens));
  const size_t shifts = std::min(length - 1, (wanted + per_shift - 1) / per_shift);
  for (size_t s = 1; s <= shifts && windows.front().size() < wanted; ++s) {
    const Calibration rest = WithoutFirstBlocks(calibration, s * length / (shifts + 1));
    if (rest.tokens() < chunk_tokens) break;
    NPUMOE_ASSIGN_OR_RETURN(const ChunkLoads loads,
                            LoadsPerChunk(rest, chunk_tokens, SequenceBorders::kIgnore));
    for (size_t l = 0; l < windows.size(); ++l) {
      for (size_t c = 0; c < static_cast<size_t>(loads.chunks); ++c) {
        const auto row = std::span(loads.layers[l]).subspan(c * experts, experts);
        windows[l].emplace_back(row.begin(), row.end());
      }
    }
  }
  return OkStatus();
}

LayerLoads Transpose(const std::vector<std::span<const int32_t>>& rows, int experts) {
  LayerLoads loads;
  loads.experts = experts;
  loads.samples = static_cast<int>(rows.size());
  loads.eligible.assign(static_cast<size_t>(experts), true);
  for (size_t e = 0; e < static_cast<size_t>(experts); ++e) {
    for (const std::span<const int32_t> row : rows) loads.loads.push_back(row[e]);
  }
  return loads;
}

}  // namespace

Result<std::vector<LayerLoads>> SampleLoads(const Calibration& calibration,
                                            const ChunkLoads& chunks, int max_samples) {
  const auto wanted = static_cast<size_t>(max_samples);
  const auto experts = static_cast<size_t>(chunks.num_experts);
  const std::vector<size_t> own = Spread(static_cast<size_t>(chunks.chunks), wanted);
  Windows windows(chunks.layers.size());
  if (own.size() < wanted && chunks.joined) {
    NPUMOE_RETURN_IF_ERROR(
        AppendShifted(calibration, chunks.chunk_tokens, wanted - own.size(), windows));
  } else if (own.size() < wanted) {
    AppendWindows(calibration, chunks.chunk_tokens, wanted - own.size(), windows);
  }
  std::vector<LayerLoads> samples;
  for (size_t l = 0; l < chunks.layers.size(); ++l) {
    std::vector<std::span<const int32_t>> rows;
    for (const size_t c : own) {
      rows.push_back(std::span(chunks.layers[l]).subspan(c * experts, experts));
    }
    const size_t added = std::min(windows[l].size(), wanted - own.size());
    for (const size_t w : Spread(windows[l].size(), added)) rows.push_back(windows[l][w]);
    samples.push_back(Transpose(rows, chunks.num_experts));
  }
  return samples;
}

}  // namespace npumoe
