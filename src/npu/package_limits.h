// What a chip's profile says about a package and about the number of loaded programs, for every
// device that enforces a profile: the same refusals in the same words.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/status.h"
#include "graph/mlpackage.h"
#include "npu/profile.h"

namespace npumoe {

// ok, or which limit the function breaks: kResourceExhausted for sizes, kUnsupported for the
// validator's rules.
Status CheckPackageFits(const Mlpackage& package, const Graph& function,
                        const ChipProfile& profile);

// The places for programs that a process has. Every function from any thread.
class ProgramPlaces {
 public:
  explicit ProgramPlaces(const ChipProfile& profile)
      : max_programs_(profile.limits.max_programs), profile_name_(profile.name) {}

  // Whether one is free; kResourceExhausted.
  Status Check() const { return Check(taken_.load()); }
  // Takes one. To be called before loading, so that loads at the same time cannot pass the limit
  // together.
  Status Take();
  void Free() { --taken_; }

 private:
  Status Check(int64_t taken) const;

  const int64_t max_programs_;
  const std::string profile_name_;
  std::atomic<int64_t> taken_{0};
};

}  // namespace npumoe
