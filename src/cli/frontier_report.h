// `npumoe plan --frontier`: how much padding buys how little spill, calibrated on one part of a
// routing record and replayed on another.
#pragma once

#include <string>

#include "base/status.h"

namespace CLI {
class App;
}

namespace npumoe::cli {

struct FrontierSource {
  std::string model;           // with `calibration`: gives the expert's shape
  std::string calibration;     // .calib.json to calibrate on
  std::string replay;          // .calib.json to replay; empty: the second half of `calibration`
  std::string routing;         // or a folder of expert_weights_L.txt: first half, second half
  std::string replay_routing;  // replay this folder's second half instead (another domain)
  int experts = 64;            // with `routing`; the defaults are DeepSeek-V2-Lite's
  int experts_per_token = 6;
  std::string expert_shape = "2048x1408";  // HIDDENxINTERMEDIATE
  std::string chip;
  int chunk_tokens = 1024;
};

void AddFrontierOptions(CLI::App& command, FrontierSource& source);
Status PrintFrontier(const FrontierSource& source, bool json);

}  // namespace npumoe::cli
