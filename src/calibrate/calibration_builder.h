// CalibrationBuilder: makes a Calibration from a run while it runs. Routing arrives layer by
// layer in any chunking; every layer must have seen the same tokens when a sequence ends.
// Not thread-safe: one run, one builder (events arrive on the thread that runs the session).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "calibrate/calibration.h"

namespace npumoe {

struct CalibrationHeader {
  std::string model_hash;
  std::string tokenizer_hash;  // empty when calibrated from ids
  int num_experts = 0;
  int experts_per_token = 0;
  int shared_experts = 0;   // 0 or 1
  std::vector<int> layers;  // MoE layers, ascending
};

class CalibrationBuilder {
 public:
  // kInvalidInput when the header contradicts itself.
  static Result<CalibrationBuilder> Create(CalibrationHeader header);

  // Name and hash of a text, for the reader of the file. Bytes that are no UTF-8 are replaced.
  void AddSource(std::string_view source);
  // Ends the sequence before it. Fails when its layers saw different numbers of tokens.
  Status BeginSequence();
  // The next tokens of the current sequence in one layer. ids [tokens, k]. The first call of all
  // begins a sequence when BeginSequence has not.
  Status AddRouting(int layer, std::span<const int32_t> ids);
  // `expert` num_experts is the shared one. Keeps the largest. NaN and infinity count as the
  // largest float: such an expert has no fp16.
  Status AddActivation(int layer, int expert, float inner_max, float output_max);
  // Ends the last sequence and hands everything over; the builder is empty afterwards. A
  // calibration without a token is refused.
  Result<Calibration> Finish();

 private:
  struct Layer {
    std::vector<uint8_t> counts;  // [blocks so far, experts]
    int64_t tokens = 0;           // of the current sequence
    size_t first_block = 0;       // of the current sequence
    std::vector<ExpertActivationMax> activation;
  };
  CalibrationBuilder() = default;
  Result<Layer*> FindLayer(int layer);
  Status EndSequence();

  CalibrationHeader header_;
  std::vector<std::string> sources_;
  std::vector<CalibrationBlock> blocks_;  // of finished sequences
  std::vector<Layer> layers_;
};

// The blocks of one sequence of `tokens`: full ones, then what is left.
void AppendSequenceBlocks(int64_t tokens, std::vector<CalibrationBlock>& blocks);

}  // namespace npumoe
