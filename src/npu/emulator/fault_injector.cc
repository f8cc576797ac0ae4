#include "npu/emulator/fault_injector.h"

#include <fnmatch.h>

#include <string_view>
#include <utility>

#include "npu/emulator/fault_effects.h"

namespace npumoe::emulator {
namespace {

bool Matches(const std::string& glob, const std::string& program) {
  if (glob.empty()) return true;
  const std::string package = program.substr(0, program.rfind(':'));
  return fnmatch(glob.c_str(), program.c_str(), 0) == 0 ||
         fnmatch(glob.c_str(), package.c_str(), 0) == 0;
}

bool Hits(const Fault& fault, int64_t event) {
  if (fault.ordinal > 0) return event == fault.ordinal;
  if (fault.every > 0) return event % fault.every == 0;
  return UnitFromHash(MixedHash(fault.seed, static_cast<uint64_t>(event))) < fault.probability;
}

}  // namespace

std::string FaultNameOf(const std::filesystem::path& package, const std::string& function) {
  // A folder may be named with a slash at its end.
  const auto name = package.has_filename() ? package.filename() : package.parent_path().filename();
  return name.stem().string() + ":" + function;
}

FaultInjector::FaultInjector(std::vector<Fault> faults) {
  for (Fault& fault : faults) faults_.push_back({std::move(fault), {}, 0});
}

std::vector<FaultEffect> FaultInjector::OnLoad(const std::string& program) {
  return OnEvent(FaultSite::kLoad, program);
}

std::vector<FaultEffect> FaultInjector::OnLaunch(const std::string& program) {
  return OnEvent(FaultSite::kLaunch, program);
}

std::vector<FaultEffect> FaultInjector::OnEvent(FaultSite site, const std::string& program) {
  const std::lock_guard lock(mutex_);
  std::vector<FaultEffect> effects;
  for (Counted& counted : faults_) {
    const Fault& fault = counted.fault;
    if (fault.site != site || !Matches(fault.program, program)) continue;
    const int64_t event = ++counted.events[fault.program.empty() ? "" : program];
    if (!Hits(fault, event) || (fault.times > 0 && counted.hits >= fault.times)) continue;
    ++counted.hits;
    effects.push_back(fault.effect);
    // Every hit corrupts other rows.
    effects.back().seed = MixedHash(fault.effect.seed, static_cast<uint64_t>(counted.hits));
  }
  return effects;
}

}  // namespace npumoe::emulator
