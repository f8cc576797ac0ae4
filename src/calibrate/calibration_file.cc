// SerializeCalibration and ParseCalibration (calibration.h): the JSON text of a calibration.
//
//   { "format": "npumoe-calibration", "version": 1, "hash": "...", "model_hash": "...",
//     "tokenizer_hash": "...", "num_experts": 64, "experts_per_token": 6, "block_tokens": 32,
//     "shared_experts": 1, "sources": ["..."], "sequences": [98, 1024],
//     "layers": [ { "layer": 1, "counts": "<base64 of [blocks, experts] bytes>",
//                   "inner_max": [..], "output_max": [..] } ] }
//
// `sequences` are token counts: each is cut into blocks of 32 and a rest. `shared_experts` is
// absent where there is none. The arrays of maxima, the shared expert's last, are absent where they
// were not recorded. `hash` is Calibration::Hash of the contents.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <utility>

#include "base/checked_math.h"
#include "base/json.h"
#include "calibrate/base64.h"
#include "calibrate/calibration.h"
#include "calibrate/calibration_builder.h"

namespace npumoe {
namespace {

constexpr const char* kFormat = "npumoe-calibration";
constexpr int64_t kMaxLayers = 4096;              // chosen: far above any model
constexpr int64_t kMaxTokens = int64_t{1} << 40;  // chosen: keeps sums far from overflow

Status CheckKeys(const JsonObject& object, const std::set<std::string>& allowed) {
  for (const auto& item : object.json().items()) {
    if (allowed.count(item.key()) == 0) {
      return object.FieldError(item.key(),
                               "unknown field; the file is damaged or of a newer build");
    }
  }
  return OkStatus();
}

std::vector<int64_t> SequenceLengths(const Calibration& calibration) {
  std::vector<int64_t> lengths;
  for (const CalibrationBlock& block : calibration.blocks) {
    if (block.starts_sequence || lengths.empty()) lengths.push_back(0);
    lengths.back() += block.tokens;
  }
  return lengths;
}

Status ReadBlocks(const JsonObject& root, Calibration& calibration) {
  NPUMOE_ASSIGN_OR_RETURN(auto lengths, root.Ints("sequences", 1, kMaxTokens));
  if (lengths.empty()) return root.FieldError("sequences", "found none; at least one is needed");
  // The counts of the first layer must have been in the file: they bound the number of blocks.
  NPUMOE_ASSIGN_OR_RETURN(const Json* layers, root.Array("layers"));
  NPUMOE_ASSIGN_OR_RETURN(auto first, JsonObject::From(layers->at(0), root.name() + ": layers[0]"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string counts, first.String("counts"));
  const auto most_blocks = static_cast<int64_t>(counts.size()) / calibration.num_experts;
  int64_t blocks = 0;
  for (int64_t length : lengths) {
    blocks += DivideRoundUp<int64_t>(length, kCalibrationBlockTokens);
    if (blocks > most_blocks) {
      return root.FieldError("sequences",
                             "describes more blocks than the counts of layers[0] hold");
    }
    AppendSequenceBlocks(length, calibration.blocks);
  }
  return OkStatus();
}

Status CheckCounts(const JsonObject& object, const Calibration& calibration,
                   const std::vector<uint8_t>& counts) {
  const auto experts = static_cast<size_t>(calibration.num_experts);
  if (counts.size() != calibration.blocks.size() * experts) {
    return object.FieldError(
        "counts",
        fmt::format("holds {} counts; {} blocks of {} experts need {}", counts.size(),
                    calibration.blocks.size(), experts, calibration.blocks.size() * experts));
  }
  for (size_t b = 0; b < calibration.blocks.size(); ++b) {
    const std::span<const uint8_t> block = std::span(counts).subspan(b * experts, experts);
    const int tokens = calibration.blocks[b].tokens;
    const int largest = *std::max_element(block.begin(), block.end());
    if (largest > tokens) {
      return object.FieldError("counts", fmt::format("block {} gives an expert {} of its {} tokens",
                                                     b, largest, tokens));
    }
    const int64_t sum = std::accumulate(block.begin(), block.end(), int64_t{0});
    if (sum != int64_t{tokens} * calibration.experts_per_token) {
      return object.FieldError(
          "counts", fmt::format("block {} adds up to {}; {} tokens of {} experts make {}", b, sum,
                                tokens, calibration.experts_per_token,
                                int64_t{tokens} * calibration.experts_per_token));
    }
  }
  return OkStatus();
}

Result<std::vector<float>> ReadMaxima(const JsonObject& object, const std::string& key,
                                      size_t experts) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* array, object.Array(key));
  std::vector<float> values;
  for (const Json& item : *array) {
    const double value = item.is_number() ? item.get<double>() : -1;
    if (!(value >= 0 && value <= double{std::numeric_limits<float>::max()})) {
      return object.FieldError(key, "found an entry that is no finite number >= 0");
    }
    values.push_back(static_cast<float>(value));
  }
  if (values.size() != experts) {
    return object.FieldError(
        key, fmt::format("holds {} numbers for {} experts", values.size(), experts));
  }
  return values;
}

Result<LayerCalibration> ReadLayer(const JsonObject& object, const Calibration& calibration,
                                   int after_layer) {
  NPUMOE_RETURN_IF_ERROR(CheckKeys(object, {"layer", "counts", "inner_max", "output_max"}));
  LayerCalibration layer;
  NPUMOE_ASSIGN_OR_RETURN(const int64_t index,
                          object.Int("layer", int64_t{after_layer} + 1, kMaxLayers));
  layer.layer = static_cast<int>(index);
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, object.String("counts"));
  auto counts = DecodeBase64(text);
  if (!counts.has_value()) return object.FieldError("counts", "is not base64");
  NPUMOE_RETURN_IF_ERROR(CheckCounts(object, calibration, *counts));
  layer.counts = *std::move(counts);
  if (!object.Has("inner_max") && !object.Has("output_max")) return layer;
  const auto experts = static_cast<size_t>(calibration.num_experts + calibration.shared_experts);
  NPUMOE_ASSIGN_OR_RETURN(const auto inner, ReadMaxima(object, "inner_max", experts));
  NPUMOE_ASSIGN_OR_RETURN(const auto output, ReadMaxima(object, "output_max", experts));
  for (size_t e = 0; e < experts; ++e) layer.activation.push_back({inner[e], output[e]});
  return layer;
}

Status ReadLayers(const JsonObject& root, Calibration& calibration) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* layers, root.Array("layers"));
  for (size_t i = 0; i < layers->size(); ++i) {
    NPUMOE_ASSIGN_OR_RETURN(
        auto object,
        JsonObject::From(layers->at(i), fmt::format("{}: layers[{}]", root.name(), i)));
    const int previous = calibration.layers.empty() ? -1 : calibration.layers.back().layer;
    NPUMOE_ASSIGN_OR_RETURN(LayerCalibration layer, ReadLayer(object, calibration, previous));
    calibration.layers.push_back(std::move(layer));
  }
  return OkStatus();
}

Status ReadHeader(const JsonObject& root, Calibration& calibration) {
  NPUMOE_RETURN_IF_ERROR(CheckKeys(
      root,
      {"format", "version", "hash", "model_hash", "tokenizer_hash", "num_experts",
       "experts_per_token", "shared_experts", "block_tokens", "sources", "sequences", "layers"}));
  NPUMOE_ASSIGN_OR_RETURN(const std::string format, root.String("format"));
  if (format != kFormat) {
    return root.FieldError("format",
                           fmt::format("is '{}'; a calibration says '{}'", format, kFormat));
  }
  NPUMOE_RETURN_IF_ERROR(
      root.Int("version", Calibration::kVersion, Calibration::kVersion).status());
  NPUMOE_RETURN_IF_ERROR(
      root.Int("block_tokens", kCalibrationBlockTokens, kCalibrationBlockTokens).status());
  NPUMOE_ASSIGN_OR_RETURN(calibration.model_hash, root.String("model_hash"));
  NPUMOE_ASSIGN_OR_RETURN(calibration.tokenizer_hash, root.String("tokenizer_hash"));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t experts, root.Int("num_experts", 1, kMaxTraceExperts));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t k, root.Int("experts_per_token", 1, experts));
  calibration.num_experts = static_cast<int>(experts);
  calibration.experts_per_token = static_cast<int>(k);
  if (root.Has("shared_experts")) {
    NPUMOE_ASSIGN_OR_RETURN(const int64_t shared, root.Int("shared_experts", 1, 1));
    calibration.shared_experts = static_cast<int>(shared);
  }
  NPUMOE_ASSIGN_OR_RETURN(const Json* sources, root.Array("sources"));
  for (const Json& source : *sources) {
    if (!source.is_string()) return root.FieldError("sources", "found an entry that is no text");
    calibration.sources.push_back(source.get<std::string>());
  }
  NPUMOE_ASSIGN_OR_RETURN(const Json* layers, root.Array("layers"));
  if (layers->empty()) return root.FieldError("layers", "found none; at least one is needed");
  return OkStatus();
}

Json LayerJson(const LayerCalibration& layer) {
  Json json = {{"layer", layer.layer}, {"counts", EncodeBase64(layer.counts)}};
  for (const ExpertActivationMax& largest : layer.activation) {
    json["inner_max"].push_back(largest.inner);
    json["output_max"].push_back(largest.output);
  }
  return json;
}

}  // namespace

std::string SerializeCalibration(const Calibration& calibration) {
  Json json = {{"format", kFormat},
               {"version", Calibration::kVersion},
               {"hash", calibration.Hash()},
               {"model_hash", calibration.model_hash},
               {"tokenizer_hash", calibration.tokenizer_hash},
               {"num_experts", calibration.num_experts},
               {"experts_per_token", calibration.experts_per_token},
               {"block_tokens", kCalibrationBlockTokens},
               {"sources", calibration.sources},
               {"sequences", SequenceLengths(calibration)},
               {"layers", Json::array()}};
  if (calibration.shared_experts > 0) json["shared_experts"] = calibration.shared_experts;
  for (const LayerCalibration& layer : calibration.layers)
    json["layers"].push_back(LayerJson(layer));
  // Strings come from the builder or the parser, so they are UTF-8; nothing is thrown either way.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Calibration> ParseCalibration(std::string_view text, const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const Json json, ParseJson(text, name));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject root, JsonObject::From(json, name));
  Calibration calibration;
  NPUMOE_RETURN_IF_ERROR(ReadHeader(root, calibration));
  NPUMOE_RETURN_IF_ERROR(ReadBlocks(root, calibration));
  NPUMOE_RETURN_IF_ERROR(ReadLayers(root, calibration));
  NPUMOE_ASSIGN_OR_RETURN(const std::string hash, root.String("hash"));
  if (const std::string actual = calibration.Hash(); hash != actual) {
    return root.FieldError("hash", fmt::format("is '{}', but the contents give '{}'; the file was "
                                               "changed, calibrate again",
                                               hash, actual));
  }
  return calibration;
}

}  // namespace npumoe
