// LoadsPerChunk (calibration.h): from counts per block to loads per chunk.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "calibrate/calibration.h"

namespace npumoe {
namespace {

struct Range {
  size_t begin = 0;
  size_t end = 0;  // blocks
};

// Runs of whole blocks that fill a chunk inside one sequence.
std::vector<Range> WholeChunks(const Calibration& calibration, int chunk_tokens) {
  const auto needed = static_cast<size_t>(chunk_tokens / kCalibrationBlockTokens);
  std::vector<Range> chunks;
  size_t begin = 0;
  for (size_t b = 0; b < calibration.blocks.size(); ++b) {
    const CalibrationBlock& block = calibration.blocks[b];
    if (block.starts_sequence) begin = b;
    if (block.tokens < kCalibrationBlockTokens) {
      begin = b + 1;
    } else if (b + 1 - begin == needed) {
      chunks.push_back({begin, b + 1});
      begin = b + 1;
    }
  }
  return chunks;
}

std::vector<int32_t> SumBlocks(const LayerCalibration& layer, std::span<const Range> chunks,
                               size_t experts) {
  std::vector<int32_t> loads(chunks.size() * experts);
  for (size_t c = 0; c < chunks.size(); ++c) {
    for (size_t b = chunks[c].begin; b < chunks[c].end; ++b) {
      for (size_t e = 0; e < experts; ++e) {
        loads[c * experts + e] += layer.counts[b * experts + e];
      }
    }
  }
  return loads;
}

// Cuts the counts of one block after `head_tokens` of its `tokens`: shares in proportion, the
// remainders to the largest fractions (the smaller expert on ties), so that each part keeps
// exactly tokens * k assignments and no expert more than the part has tokens.
void SplitInProportion(std::span<const int32_t> counts, int tokens, int head_tokens,
                       std::span<int32_t> head) {
  const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  int64_t left = total * head_tokens / tokens;
  std::vector<std::pair<int, size_t>> fractions;  // (-remainder, expert)
  for (size_t e = 0; e < counts.size(); ++e) {
    head[e] = counts[e] * head_tokens / tokens;
    left -= head[e];
    if (const int remainder = counts[e] * head_tokens % tokens; remainder != 0) {
      fractions.emplace_back(-remainder, e);
    }
  }
  std::sort(fractions.begin(), fractions.end());
  for (int64_t i = 0; i < left; ++i) ++head[fractions[static_cast<size_t>(i)].second];
}

// Chunks of the stream as if it were one sequence: chunk c holds tokens [c, c + 1) * chunk.
std::vector<int32_t> SumJoined(const Calibration& calibration, const LayerCalibration& layer,
                               int chunk_tokens) {
  const auto experts = static_cast<size_t>(calibration.num_experts);
  const auto chunks = static_cast<size_t>(calibration.tokens() / chunk_tokens);
  std::vector<int32_t> loads(chunks * experts);
  std::vector<int32_t> rest(experts);
  std::vector<int32_t> head(experts);
  size_t chunk = 0;
  int filled = 0;
  for (size_t b = 0; b < calibration.blocks.size() && chunk < chunks; ++b) {
    int tokens = calibration.blocks[b].tokens;
    std::copy_n(layer.counts.begin() + static_cast<ptrdiff_t>(b * experts), experts, rest.begin());
    while (tokens > 0 && chunk < chunks) {
      const int taken = std::min(tokens, chunk_tokens - filled);
      SplitInProportion(rest, tokens, taken, head);
      for (size_t e = 0; e < experts; ++e) {
        loads[chunk * experts + e] += head[e];
        rest[e] -= head[e];
      }
      tokens -= taken;
      filled += taken;
      if (filled == chunk_tokens) {
        filled = 0;
        ++chunk;
      }
    }
  }
  return loads;
}

Status CheckChunk(const Calibration& calibration, int chunk_tokens) {
  if (chunk_tokens < kCalibrationBlockTokens || chunk_tokens % kCalibrationBlockTokens != 0) {
    return InvalidInput(fmt::format("chunk of {} tokens; a calibration answers for multiples of {}",
                                    chunk_tokens, kCalibrationBlockTokens));
  }
  if (calibration.tokens() < chunk_tokens) {
    return InvalidInput(fmt::format(
        "the calibration holds {} tokens, fewer than one chunk of {}; calibrate on a longer text "
        "or choose a shorter chunk",
        calibration.tokens(), chunk_tokens));
  }
  return OkStatus();
}

}  // namespace

Result<ChunkLoads> LoadsPerChunk(const Calibration& calibration, int chunk_tokens,
                                 SequenceBorders borders) {
  NPUMOE_RETURN_IF_ERROR(CheckChunk(calibration, chunk_tokens));
  std::vector<Range> whole;
  if (borders == SequenceBorders::kKeep) whole = WholeChunks(calibration, chunk_tokens);
  ChunkLoads result;
  result.chunk_tokens = chunk_tokens;
  result.num_experts = calibration.num_experts;
  result.joined = whole.empty();
  result.chunks =
      result.joined ? calibration.tokens() / chunk_tokens : static_cast<int64_t>(whole.size());
  for (const LayerCalibration& layer : calibration.layers) {
    result.layers.push_back(
        result.joined ? SumJoined(calibration, layer, chunk_tokens)
                      : SumBlocks(layer, whole, static_cast<size_t>(calibration.num_experts)));
  }
  return result;
}

}  // namespace npumoe
