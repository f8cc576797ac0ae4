// Progress of long work on stderr: a bar with rate and remaining time on a terminal, a sparse
// line every tenth of the way otherwise.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace npumoe::cli {

class Progress {
 public:
  // "calibrating", "tokens". Silent when `enabled` says so (--no-progress, --json is fine).
  enum class Visibility { kShown, kHidden };
  Progress(std::string label, std::string unit, Visibility visibility = Visibility::kShown);
  ~Progress();  // clears the line, as the last update does
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(int64_t done, int64_t total);

 private:
  void Clear();
  void DrawBar(int64_t done, int64_t total);
  void PrintLine(int64_t done, int64_t total);
  std::string label_;
  std::string unit_;
  bool shown_;
  bool terminal_;
  bool drawn_ = false;
  double last_draw_ms_ = -1e9;
  int64_t last_tenth_ = 0;
  Stopwatch watch_;
};

}  // namespace npumoe::cli
