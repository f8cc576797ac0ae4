#include "calibrate/calibration_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"

namespace npumoe {
namespace {

Status CheckHeader(const CalibrationHeader& header) {
  if (header.num_experts < 1 || header.num_experts > kMaxTraceExperts) {
    return InvalidInput(fmt::format("calibration: {} experts; allowed are 1 to {}",
                                    header.num_experts, kMaxTraceExperts));
  }
  if (header.experts_per_token < 1 || header.experts_per_token > header.num_experts) {
    return InvalidInput(fmt::format("calibration: {} experts per token; allowed are 1 to {}",
                                    header.experts_per_token, header.num_experts));
  }
  if (header.shared_experts < 0 || header.shared_experts > 1) {
    return InvalidInput(
        fmt::format("calibration: {} shared experts; allowed are 0 and 1", header.shared_experts));
  }
  if (header.layers.empty()) {
    return InvalidInput("calibration: the model has no MoE layer, so there is nothing to count");
  }
  int previous = -1;
  for (int layer : header.layers) {
    if (layer <= previous) {
      return InvalidInput(
          fmt::format("calibration: layer {} after {}; layers must ascend", layer, previous));
    }
    previous = layer;
  }
  return OkStatus();
}

void KeepLargest(float value, float& largest) {
  if (!std::isfinite(value)) value = std::numeric_limits<float>::max();
  largest = std::max(largest, std::abs(value));
}

}  // namespace

void AppendSequenceBlocks(int64_t tokens, std::vector<CalibrationBlock>& blocks) {
  for (int64_t begin = 0; begin < tokens; begin += kCalibrationBlockTokens) {
    const int64_t size = std::min<int64_t>(kCalibrationBlockTokens, tokens - begin);
    blocks.push_back({.tokens = static_cast<int>(size), .starts_sequence = begin == 0});
  }
}

Result<CalibrationBuilder> CalibrationBuilder::Create(CalibrationHeader header) {
  NPUMOE_RETURN_IF_ERROR(CheckHeader(header));
  CalibrationBuilder builder;
  builder.layers_.resize(header.layers.size());
  builder.header_ = std::move(header);
  return builder;
}

void CalibrationBuilder::AddSource(std::string_view source) {
  // File names may hold any bytes; the file stores text.
  const std::string quoted = Json(source).dump(-1, ' ', false, Json::error_handler_t::replace);
  sources_.push_back(Json::parse(quoted).get<std::string>());
}

Result<CalibrationBuilder::Layer*> CalibrationBuilder::FindLayer(int layer) {
  const auto it = std::lower_bound(header_.layers.begin(), header_.layers.end(), layer);
  if (it == header_.layers.end() || *it != layer) {
    return InvalidInput(fmt::format("calibration: layer {} is not one of its MoE layers", layer));
  }
  return &layers_[static_cast<size_t>(it - header_.layers.begin())];
}

Status CalibrationBuilder::EndSequence() {
  const int64_t tokens = layers_.front().tokens;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (layers_[i].tokens != tokens) {
      return InvalidInput(
          fmt::format("calibration: layer {} saw {} tokens of a sequence, layer {} saw {}",
                      header_.layers[i], layers_[i].tokens, header_.layers.front(), tokens));
    }
  }
  AppendSequenceBlocks(tokens, blocks_);
  for (Layer& layer : layers_) {
    layer.tokens = 0;
    layer.first_block = blocks_.size();
  }
  return OkStatus();
}

Status CalibrationBuilder::BeginSequence() { return EndSequence(); }

Status CalibrationBuilder::AddRouting(int layer, std::span<const int32_t> ids) {
  const auto k = static_cast<size_t>(header_.experts_per_token);
  const auto experts = static_cast<size_t>(header_.num_experts);
  NPUMOE_ASSIGN_OR_RETURN(Layer * state, FindLayer(layer));
  if (ids.size() % k != 0) {
    return InvalidInput(
        fmt::format("calibration: {} ids of layer {} are no multiple of {}", ids.size(), layer, k));
  }
  for (size_t first = 0; first < ids.size(); first += k) {
    const std::span<const int32_t> token = ids.subspan(first, k);
    NPUMOE_RETURN_IF_ERROR(ValidateTokenExperts(token, header_.num_experts, state->tokens, layer));
    const size_t block =
        state->first_block + static_cast<size_t>(state->tokens / kCalibrationBlockTokens);
    if (state->counts.size() < (block + 1) * experts) state->counts.resize((block + 1) * experts);
    for (int32_t id : token) ++state->counts[block * experts + static_cast<size_t>(id)];
    ++state->tokens;
  }
  return OkStatus();
}

Status CalibrationBuilder::AddActivation(int layer, int expert, float inner_max, float output_max) {
  NPUMOE_ASSIGN_OR_RETURN(Layer * state, FindLayer(layer));
  const int experts = header_.num_experts + header_.shared_experts;
  if (expert < 0 || expert >= experts) {
    return InvalidInput(
        fmt::format("calibration: expert {}; allowed are 0 to {}", expert, experts - 1));
  }
  state->activation.resize(static_cast<size_t>(experts));
  ExpertActivationMax& largest = state->activation[static_cast<size_t>(expert)];
  KeepLargest(inner_max, largest.inner);
  KeepLargest(output_max, largest.output);
  return OkStatus();
}

Result<Calibration> CalibrationBuilder::Finish() {
  NPUMOE_RETURN_IF_ERROR(EndSequence());
  if (blocks_.empty()) {
    return InvalidInput("calibration: no token was routed; give it a text that is not empty");
  }
  Calibration result;
  result.model_hash = header_.model_hash;
  result.tokenizer_hash = header_.tokenizer_hash;
  result.num_experts = header_.num_experts;
  result.experts_per_token = header_.experts_per_token;
  result.shared_experts = header_.shared_experts;
  result.sources = std::exchange(sources_, {});
  result.blocks = std::exchange(blocks_, {});
  for (size_t i = 0; i < layers_.size(); ++i) {
    result.layers.push_back({.layer = header_.layers[i],
                             .counts = std::move(layers_[i].counts),
                             .activation = std::move(layers_[i].activation)});
    layers_[i] = Layer();
  }
  return result;
}

}  // namespace npumoe
