// The result of the conformance test, for people (a table that has a column for each weight format)
// and as JSON (every package).
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "npu/device.h"
#include "runtime/conformance/conformance.h"

namespace npumoe::cli {

struct ConformanceReport {
  struct Row {
    ConformanceCase tested;
    ConformanceVerdict verdict;
  };
  std::string chip;
  DeviceInfo device;
  DeviceHealth health;
  std::vector<Row> rows;  // packages, in the order they were checked

  int64_t Count(ConformanceVerdict::Outcome outcome) const;
  int64_t Elsewhere() const;  // packages that the device ran elsewhere, at least in part
  // kNumeric when a package failed or was not tried; with `require_npu` also when one ran
  // elsewhere or was not taken.
  Status Conclusion(bool require_npu) const;
};

void Print(const ConformanceReport& report, bool json);

}  // namespace npumoe::cli
