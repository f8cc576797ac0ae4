// Trace files: a routing trace as text that travels. Holds ids and weights, never the text that
// was routed. One "key value" a line:
//
//   npumoe-routing-trace 1
//   experts 64
//   experts_per_token 6
//   tokens 1024
//   sequence_starts 0 512
//   layer 1
//   ids <base64 of 16-bit little-endian ids, [tokens, k]>
//   weights <base64 of 32-bit little-endian floats, [tokens, k]>      (absent: not recorded)
//   layer 2
//   ...
//   hash <of everything above>
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/status.h"
#include "calibrate/trace.h"

namespace npumoe {

// The trace must be valid (ValidateTrace).
std::string SerializeTrace(const RoutingTrace& trace);
// Refuses every contradiction; the result passes ValidateTrace.
Result<RoutingTrace> ParseTrace(std::string_view text, const std::string& name);

Status WriteTraceFile(const std::filesystem::path& path, const RoutingTrace& trace);
Result<RoutingTrace> ReadTraceFile(const std::filesystem::path& path);

// "sequence,token,layer,slot,expert,weight" lines for spreadsheets; the weight is empty where
// none was recorded. Layer by layer, tokens counted through all sequences.
std::string TraceAsCsv(const RoutingTrace& trace);

}  // namespace npumoe
