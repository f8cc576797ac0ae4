// FaultInjector: counts loads and launches against a fault script and says which faults hit one.
// Thread-safe. With worker processes it lives in the engine's process, so that a restart of a
// worker neither forgets what was counted nor fires a fault twice that was meant once.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "npu/emulator/fault_script.h"

namespace npumoe::emulator {

// What scripts match: NAME:FUNCTION of NAME.mlpackage.
std::string FaultNameOf(const std::filesystem::path& package, const std::string& function);

class FaultInjector {
 public:
  explicit FaultInjector(std::vector<Fault> faults);
  // The faults that hit this event, in the order of the script. `program` is a FaultNameOf.
  std::vector<FaultEffect> OnLoad(const std::string& program);
  std::vector<FaultEffect> OnLaunch(const std::string& program);

 private:
  struct Counted {
    Fault fault;
    std::map<std::string, int64_t> events;  // by program; under "" where they count together
    int64_t hits = 0;
  };
  std::vector<FaultEffect> OnEvent(FaultSite site, const std::string& program);

  std::mutex mutex_;
  std::vector<Counted> faults_;
};

}  // namespace npumoe::emulator
