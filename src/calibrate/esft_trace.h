// Reader for the routing records that the ESFT project published for DeepSeek-V2-Lite: one text
// file expert_weights_L.txt per MoE layer L, one sequence a line, tab-separated: the ids of all
// tokens (k per token, in order), an empty field, as many router weights. Files that come
// compressed are unpacked by whoever calls this.
#pragma once

#include <filesystem>

#include "base/status.h"
#include "calibrate/trace.h"

namespace npumoe {

Result<RoutingTrace> ReadEsftTrace(const std::filesystem::path& folder, int num_experts,
                                   int experts_per_token);

}  // namespace npumoe
