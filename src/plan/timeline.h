// Timeline: who was busy when, for one prefill. CPU work measured or modelled, NPU work modelled
// on the emulator; every span says which.
#pragma once

#include <string>
#include <vector>

namespace npumoe {

enum class Engine { kCpu, kNpu };
enum class TimeSource { kMeasured, kModelled };

struct TimelineSpan {
  Engine engine = Engine::kCpu;
  TimeSource source = TimeSource::kModelled;
  int chunk = 0;
  int layer = 0;
  std::string what;  // "attention", "gather", "launch 2", "cpu experts", "combine"
  double start_ms = 0;
  double end_ms = 0;
};

struct Timeline {
  std::vector<TimelineSpan> spans;
  double BusyMs(Engine engine) const;
  double EndMs() const;
  // A picture for a terminal, `columns` wide: one row per engine.
  std::string Draw(int columns) const;
};

}  // namespace npumoe
