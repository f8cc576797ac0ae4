#include "cli/frontier_report.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "calibrate/esft_trace.h"
#include "calibrate/popularity.h"
#include "cli/calibration_file.h"
#include "cli/engine.h"
#include "plan/frontier.h"
#include "plan/planning_problem.h"

namespace npumoe::cli {
namespace {

struct FrontierInputs {
  ModelConfig config;  // the expert's shape is all that counts
  Calibration calibrated;
  Calibration held_out;
};

// "2048x1408"
Result<std::pair<int, int>> ParseShape(std::string_view text) {
  int sizes[2] = {0, 0};
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (int i = 0; i < 2; ++i) {
    const auto [next, error] = std::from_chars(at, end, sizes[i]);
    const bool ends_well = i == 1 ? next == end : next != end && *next == 'x';
    if (error != std::errc() || !ends_well || sizes[i] < 1 || sizes[i] > 1 << 20) {
      return UsageError(fmt::format(
          "--expert-shape '{}' is not HIDDENxINTERMEDIATE with sizes up to 1048576, as 2048x1408",
          text));
    }
    at = next + 1;
  }
  return std::pair(sizes[0], sizes[1]);
}

Result<std::pair<Calibration, Calibration>> ReadRouting(const std::string& folder,
                                                        const FrontierSource& source) {
  NPUMOE_ASSIGN_OR_RETURN(const RoutingTrace trace,
                          ReadEsftTrace(folder, source.experts, source.experts_per_token));
  NPUMOE_ASSIGN_OR_RETURN(const Calibration all, CalibrationFromTrace(trace));
  return SplitCalibration(all, 0.5);
}

Result<FrontierInputs> ReadRoutingInputs(const FrontierSource& source) {
  FrontierInputs inputs;
  NPUMOE_ASSIGN_OR_RETURN(const auto shape, ParseShape(source.expert_shape));
  inputs.config.hidden_size = shape.first;
  inputs.config.moe.expert_intermediate_size = shape.second;
  inputs.config.moe.num_experts = source.experts;
  inputs.config.moe.experts_per_token = source.experts_per_token;
  NPUMOE_ASSIGN_OR_RETURN(auto halves, ReadRouting(source.routing, source));
  inputs.calibrated = std::move(halves.first);
  inputs.held_out = std::move(halves.second);
  if (!source.replay_routing.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(auto other, ReadRouting(source.replay_routing, source));
    inputs.held_out = std::move(other.second);
  }
  return inputs;
}

Result<FrontierInputs> ReadModelInputs(const FrontierSource& source) {
  if (source.model.empty() || source.calibration.empty()) {
    return UsageError(
        "plan --frontier needs MODEL and --calibration FILE, or --routing FOLDER with --experts, "
        "--experts-per-token and --expert-shape");
  }
  FrontierInputs inputs;
  NPUMOE_ASSIGN_OR_RETURN(const auto model, LoadModel(source.model));
  inputs.config = model->config;
  const auto read = [&](const std::string& path) -> Result<Calibration> {
    NPUMOE_ASSIGN_OR_RETURN(Calibration calibration, ReadCalibrationFile(path));
    const Status fits = CheckCalibrationFits(calibration, model->config, model->hash);
    if (!fits.ok()) return fits.WithContext(path);
    return calibration;
  };
  NPUMOE_ASSIGN_OR_RETURN(inputs.calibrated, read(source.calibration));
  if (!source.replay.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(inputs.held_out, read(source.replay));
    return inputs;
  }
  NPUMOE_ASSIGN_OR_RETURN(auto halves, SplitCalibration(inputs.calibrated, 0.5));
  inputs.calibrated = std::move(halves.first);
  inputs.held_out = std::move(halves.second);
  return inputs;
}

nlohmann::ordered_json PointsJson(const std::vector<FrontierPoint>& points) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const FrontierPoint& point : points) {
    json.push_back({{"multiplier", point.multiplier},
                    {"padding", point.padding},
                    {"spill", point.spill},
                    {"capacity_rows", point.capacity_rows}});
  }
  return json;
}

}  // namespace

void AddFrontierOptions(CLI::App& command, FrontierSource& source) {
  command.add_option("--replay", source.replay,
                     "With --frontier: replay this calibration (default: its second half, "
                     "calibrated on the first)");
  command.add_option("--routing", source.routing,
                     "With --frontier: folder of expert_weights_L.txt instead of a model; "
                     "calibrates on the first half, replays the second");
  command.add_option("--replay-routing", source.replay_routing,
                     "With --routing: replay the second half of this folder, another domain");
  command.add_option("--experts", source.experts, "With --routing: experts of a layer")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command
      .add_option("--experts-per-token", source.experts_per_token,
                  "With --routing: experts of a token")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      .add_option("--expert-shape", source.expert_shape,
                  "With --routing: HIDDENxINTERMEDIATE of an expert")
      ->capture_default_str();
}

Status PrintFrontier(const FrontierSource& source, bool json) {
  NPUMOE_ASSIGN_OR_RETURN(const FrontierInputs inputs, source.routing.empty()
                                                           ? ReadModelInputs(source)
                                                           : ReadRoutingInputs(source));
  NPUMOE_ASSIGN_OR_RETURN(const ChipProfile profile, LoadChipProfile(source.chip, ChipFolders()));
  const CostModel costs(inputs.config, profile, 2);
  FrontierOptions options;
  options.chunk_tokens = source.chunk_tokens;
  options.floor = WeightFloor::kOff;
  NPUMOE_ASSIGN_OR_RETURN(const auto floor_off,
                          MakeFrontier(inputs.calibrated, inputs.held_out, costs, options));
  options.floor = WeightFloor::kOn;
  NPUMOE_ASSIGN_OR_RETURN(const auto floor_on,
                          MakeFrontier(inputs.calibrated, inputs.held_out, costs, options));
  if (json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"chunk_tokens", source.chunk_tokens},
                                              {"chip", profile.name},
                                              {"floor_off", PointsJson(floor_off)},
                                              {"floor_on", PointsJson(floor_on)}}
                           .dump(2));
    return OkStatus();
  }
  fmt::print(
      "padding against spill, chunk {}, all experts resident; calibrated on {} tokens, replayed on "
      "{}\n\n{}",
      source.chunk_tokens, inputs.calibrated.tokens(), inputs.held_out.tokens(),
      FormatFrontiers(floor_off, floor_on, profile.name));
  return OkStatus();
}

}  // namespace npumoe::cli
