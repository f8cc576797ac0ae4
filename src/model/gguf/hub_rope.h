// Rotary positions and numbers of a config.json.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "model/config.h"

namespace npumoe {

// The double with the fewest digits that a float reader takes for `value`: 1e-06, not
// 9.999999974752427e-07.
double ShortestDecimal(float value);

// rope_theta and rope_scaling.
void AddHubRope(const ModelConfig& config, nlohmann::ordered_json& json);

}  // namespace npumoe
