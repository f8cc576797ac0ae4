// Prediction: one launch on its way: hands the buffers over, runs (several times where the Neural
// Engine has to wake up first), takes the buffers back. It owns all that Core ML may touch, so that
// one that passes its time limit, or outlives its program, harms nobody.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "npu/coreml/coreml_bridge.h"
#include "npu/coreml/tensor_memory.h"

namespace npumoe::coreml_device {

struct NamedMemory {
  std::string name;
  std::shared_ptr<TensorMemory> memory;
};

struct PredictionWork {
  std::shared_ptr<Model> model;
  std::vector<NamedMemory> inputs;
  std::vector<NamedMemory> outputs;
  int runs = 1;                        // the last one counts, those before it warm up
  std::shared_ptr<const void> keeper;  // what else must live until the end
};

struct PredictionTimes {
  double begin_ms = 0;  // of the last run, by the clock
  double end_ms = 0;
};

// `done` is called once, from any thread, possibly before this returns, when the buffers are the
// engine's again.
void StartPrediction(PredictionWork work, std::shared_ptr<Clock> clock,
                     std::function<void(const Status&, PredictionTimes)> done);

}  // namespace npumoe::coreml_device
