// The report of `perplexity --kl-against`: numeric agreement, and dispatch counts three ways:
// executed, recounted from the routing that this run recorded, predicted from the calibration.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "calibrate/trace.h"
#include "cli/engine.h"
#include "eval/kl.h"
#include "eval/routing_agreement.h"

namespace npumoe::cli {

struct ComparisonContext {
  std::string device;   // what is judged,
  std::string against;  // and by what; names as --device takes them
  int64_t window_tokens = 0;
  ComparisonResult result;
  RoutingAgreement routing;
  DispatchCounts recounted;             // of `device`; all zero on the CPU
  std::optional<Prediction> predicted;  // for one window; needs a calibration

  bool has_counts() const { return device != "cpu"; }
  bool counts_agree() const { return !has_counts() || result.counts == recounted; }
};

// Of an engine with a planned device. Fills `recounted`, and `predicted` where `calibration` names
// a file.
Status AddCounts(Engine& engine, const RoutingTrace& trace, const std::string& calibration,
                 ComparisonContext& context);

std::string ComparisonText(const ComparisonContext& context);
std::string ComparisonJson(const ComparisonContext& context);

}  // namespace npumoe::cli
