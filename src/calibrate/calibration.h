// Calibration: what the planner knows about a model's routing. Counts per MoE layer, expert and
// block of 32 tokens with the borders of sequences, so that the loads of chunks of any length
// (a multiple of 32) follow; and the largest activation per expert, since an expert whose inner
// values pass 65504 cannot run in fp16.
//
// Versioned, tied to model and tokenizer by hash, mergeable.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "calibrate/trace.h"

namespace npumoe {

inline constexpr int kCalibrationBlockTokens = 32;

struct CalibrationBlock {
  int tokens = 0;                // 1..32; the last block of a sequence may be short
  bool starts_sequence = false;  // a chunk never spans the border before it
};

struct ExpertActivationMax {
  float inner = 0;   // max |silu(gate x) * up x|
  float output = 0;  // max |down(...)|
};

struct LayerCalibration {
  int layer = 0;
  std::vector<uint8_t> counts;  // [blocks, experts]: tokens of the block, 0..32
  // [experts + shared experts]; empty when not recorded
  std::vector<ExpertActivationMax> activation;
};

struct Calibration {
  static constexpr int kVersion = 1;
  std::string model_hash;
  std::string tokenizer_hash;  // empty when calibrated from ids
  int num_experts = 0;
  int experts_per_token = 0;
  int shared_experts = 0;            // 0 or 1: every token chooses it, so it is not counted
  std::vector<std::string> sources;  // names and hashes of the texts, for the reader
  std::vector<CalibrationBlock> blocks;
  std::vector<LayerCalibration> layers;

  int64_t tokens() const;
  std::string Hash() const;
};

// Loads of every chunk of `chunk_tokens` (a multiple of 32) that the calibrated sequences fill
// whole; when no sequence is that long, of the whole stream with its borders ignored
// (`joined` tells). Row-major [chunks, experts] per layer. In a joined stream a chunk border may
// cut a block: its counts are then split in proportion, so that every chunk holds exactly
// chunk_tokens * k assignments. Fails when the calibration is shorter than one chunk.
struct ChunkLoads {
  int chunk_tokens = 0;
  int num_experts = 0;
  bool joined = false;
  int64_t chunks = 0;
  std::vector<std::vector<int32_t>> layers;  // one [chunks * experts] per MoE layer
};
enum class SequenceBorders { kKeep, kIgnore };
Result<ChunkLoads> LoadsPerChunk(const Calibration& calibration, int chunk_tokens,
                                 SequenceBorders borders = SequenceBorders::kKeep);

// Counts a trace; activation maxima stay empty.
Result<Calibration> CalibrationFromTrace(const RoutingTrace& trace);
// Same model, tokenizer and shape required. The result holds the blocks of both.
Result<Calibration> MergeCalibrations(const Calibration& a, const Calibration& b);

// JSON text with the counts as compact strings; ParseCalibration refuses every contradiction.
std::string SerializeCalibration(const Calibration& calibration);
Result<Calibration> ParseCalibration(std::string_view text, const std::string& name);

}  // namespace npumoe
