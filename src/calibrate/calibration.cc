#include "calibrate/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "calibrate/calibration_builder.h"

namespace npumoe {
namespace {

void HashLayer(const LayerCalibration& layer, Hasher& hasher) {
  hasher.Add(int64_t{layer.layer});
  hasher.Add(static_cast<int64_t>(layer.counts.size()));
  hasher.Add(std::as_bytes(std::span(layer.counts)));
  hasher.Add(static_cast<int64_t>(layer.activation.size()));
  for (const ExpertActivationMax& largest : layer.activation) {
    for (float value : {largest.inner, largest.output}) {
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      hasher.Add(int64_t{bits});
    }
  }
}

Status CheckMergeable(const Calibration& a, const Calibration& b) {
  const auto differ = [](const char* what, const auto& x, const auto& y) {
    return InvalidInput(
        fmt::format("calibrations cannot be merged: {} is {} in one and {} in the other; "
                    "calibrate both with the same model and tokenizer",
                    what, x, y));
  };
  if (a.model_hash != b.model_hash) return differ("model", a.model_hash, b.model_hash);
  if (a.tokenizer_hash != b.tokenizer_hash) {
    return differ("tokenizer", a.tokenizer_hash, b.tokenizer_hash);
  }
  if (a.num_experts != b.num_experts) return differ("expert count", a.num_experts, b.num_experts);
  if (a.experts_per_token != b.experts_per_token) {
    return differ("experts per token", a.experts_per_token, b.experts_per_token);
  }
  if (a.shared_experts != b.shared_experts) {
    return differ("number of shared experts", a.shared_experts, b.shared_experts);
  }
  if (a.layers.size() != b.layers.size()) {
    return differ("number of MoE layers", a.layers.size(), b.layers.size());
  }
  for (size_t i = 0; i < a.layers.size(); ++i) {
    if (a.layers[i].layer != b.layers[i].layer) {
      return differ("MoE layer", a.layers[i].layer, b.layers[i].layer);
    }
  }
  return OkStatus();
}

// The larger of both, expert by expert; a side that recorded nothing has no say.
void MergeActivation(const std::vector<ExpertActivationMax>& from,
                     std::vector<ExpertActivationMax>& into) {
  if (into.size() < from.size()) into.resize(from.size());
  for (size_t e = 0; e < from.size(); ++e) {
    into[e].inner = std::max(into[e].inner, from[e].inner);
    into[e].output = std::max(into[e].output, from[e].output);
  }
}

}  // namespace

int64_t Calibration::tokens() const {
  int64_t sum = 0;
  for (const CalibrationBlock& block : blocks) sum += block.tokens;
  return sum;
}

std::string Calibration::Hash() const {
  Hasher hasher;
  hasher.Add(std::string_view("npumoe-calibration")).Add(int64_t{kVersion});
  hasher.Add(std::string_view(model_hash)).Add(std::string_view(tokenizer_hash));
  hasher.Add(int64_t{num_experts}).Add(int64_t{experts_per_token});
  if (shared_experts > 0) hasher.Add(int64_t{shared_experts});
  hasher.Add(static_cast<int64_t>(sources.size()));
  for (const std::string& source : sources) hasher.Add(std::string_view(source));
  hasher.Add(static_cast<int64_t>(blocks.size()));
  for (const CalibrationBlock& block : blocks) {
    hasher.Add(int64_t{block.tokens} * 2 + (block.starts_sequence ? 1 : 0));
  }
  hasher.Add(static_cast<int64_t>(layers.size()));
  for (const LayerCalibration& layer : layers) HashLayer(layer, hasher);
  return hasher.Hex();
}

Result<Calibration> CalibrationFromTrace(const RoutingTrace& trace) {
  NPUMOE_RETURN_IF_ERROR(ValidateTrace(trace));
  CalibrationHeader header;
  header.num_experts = trace.num_experts;
  header.experts_per_token = trace.experts_per_token;
  for (const LayerRouting& layer : trace.layers) header.layers.push_back(layer.layer);
  NPUMOE_ASSIGN_OR_RETURN(CalibrationBuilder builder,
                          CalibrationBuilder::Create(std::move(header)));
  const auto k = static_cast<size_t>(trace.experts_per_token);
  for (size_t i = 0; i < trace.sequence_starts.size(); ++i) {
    const auto [begin, end] = trace.Sequence(i);
    NPUMOE_RETURN_IF_ERROR(builder.BeginSequence());
    for (const LayerRouting& layer : trace.layers) {
      NPUMOE_RETURN_IF_ERROR(builder.AddRouting(
          layer.layer, std::span(layer.ids).subspan(static_cast<size_t>(begin) * k,
                                                    static_cast<size_t>(end - begin) * k)));
    }
  }
  return builder.Finish();
}

Result<Calibration> MergeCalibrations(const Calibration& a, const Calibration& b) {
  NPUMOE_RETURN_IF_ERROR(CheckMergeable(a, b));
  Calibration merged = a;
  merged.sources.insert(merged.sources.end(), b.sources.begin(), b.sources.end());
  merged.blocks.insert(merged.blocks.end(), b.blocks.begin(), b.blocks.end());
  for (size_t i = 0; i < merged.layers.size(); ++i) {
    LayerCalibration& layer = merged.layers[i];
    const LayerCalibration& other = b.layers[i];
    layer.counts.insert(layer.counts.end(), other.counts.begin(), other.counts.end());
    MergeActivation(other.activation, layer.activation);
  }
  return merged;
}

}  // namespace npumoe
