// The one clock: steady, in milliseconds. Code that is tested with a modelled clock takes a Clock.
#pragma once

#include <chrono>

namespace npumoe {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual double NowMs() = 0;
};

class SteadyClock final : public Clock {
 public:
  double NowMs() override {
    return std::chrono::duration<double, std::milli>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

// Milliseconds since construction, measured.
class Stopwatch {
 public:
  double ElapsedMs() { return clock_.NowMs() - start_ms_; }

 private:
  SteadyClock clock_;
  double start_ms_ = clock_.NowMs();
};

}  // namespace npumoe
