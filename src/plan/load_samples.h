// Sample chunks to plan with. A capacity is a quantile of an expert's load per chunk; a short
// calibration has few chunks that do not overlap (eight of 1024 in 8,192 tokens), too few to see
// a quantile. Windows that start at any block of 32 tokens are as likely to become chunks: they
// add no bias and smooth the estimate. The calibration's own chunks are always among them.
#pragma once

#include <vector>

#include "base/status.h"
#include "calibrate/calibration.h"
#include "plan/layer_score.h"

namespace npumoe {

// At most `max_samples` chunks, spread evenly over the calibration. One entry per MoE layer; all
// experts eligible. `chunks` are the calibration's own of the same length and borders.
Result<std::vector<LayerLoads>> SampleLoads(const Calibration& calibration,
                                            const ChunkLoads& chunks, int max_samples);

}  // namespace npumoe
