// Conformance: small programs of every kind that plans are made of, with seeded weights, loaded and
// launched on a device and held against the plain reference kernels. A program's weights are read
// back from its package and materialised as its device does, so that what remains is the device's
// error.
//
// The cases themselves: conformance_case.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/device.h"
#include "npu/profile.h"
#include "runtime/conformance/conformance_case.h"

namespace npumoe {

struct ConformanceVerdict {
  enum class Outcome {
    kAgrees,    // with the reference, within the case's tolerance
    kRefused,   // by the device, for rules that the validator names, too
    kNotTaken,  // too small for the device's compiler to place it there, as the validator warned
    kFailed,    // wrong numbers; refused although the validator accepts; an error
    kNotTried,  // the device did not come back after an earlier one
  };
  Outcome outcome = Outcome::kNotTried;
  Status status;                   // why it was refused or failed
  std::vector<std::string> rules;  // errors of the validator for the chip, each once
  int64_t functions = 0;           // executed
  double error = 0;                // largest difference, as a share of its output's largest value
  // Where the device says that operations run, over all functions; 0 operations: it does not say.
  ComputePlan plan;

  // A refusal by a rule is an answer, not a fault.
  bool passed() const { return outcome != Outcome::kFailed && outcome != Outcome::kNotTried; }
  bool is_elsewhere() const { return plan.on_device < plan.operations; }
};
// "agrees", "refused", "not taken", "failed", "not tried"
const char* Name(ConformanceVerdict::Outcome outcome);

// Checks cases one after another on one device, whose packages lie in `folder` meanwhile.
class Conformance {
 public:
  // All must outlive it. A launch may take `timeout_ms`.
  Conformance(Device& device, const ChipProfile& profile, std::filesystem::path folder,
              double timeout_ms)
      : device_(device), profile_(profile), folder_(std::move(folder)), timeout_ms_(timeout_ms) {}

  // After a launch that did not end, or a device that is lost and cannot be opened again, nothing
  // more is tried.
  ConformanceVerdict Check(const ConformanceCase& tested);

 private:
  Status CheckFunctions(const ConformanceCase& tested, const std::filesystem::path& path,
                        ConformanceVerdict& verdict);
  void NoteIfGone(const Status& status);

  Device& device_;
  const ChipProfile& profile_;
  const std::filesystem::path folder_;
  const double timeout_ms_;
  int64_t packages_ = 0;
  bool is_gone_ = false;
};

}  // namespace npumoe
