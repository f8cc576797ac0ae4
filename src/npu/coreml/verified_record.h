// The file `verified.json` beside a compiled model: which of its functions were loaded, placed and
// run on this chip and OS build, and where their operations lie. And the marks of loads that never
// ended because the process died in them.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "npu/coreml/coreml_bridge.h"
#include "npu/coreml/file_lock.h"
#include "npu/coreml/placement.h"

namespace npumoe::coreml_device {

using VerifiedFunctions = std::map<std::string, Placement>;

// Empty where there is no record, a damaged one, or one of another chip or OS build: it is made
// again.
VerifiedFunctions ReadVerified(const std::filesystem::path& entry, const HostFacts& host);
// Not for two threads at a time; what two processes write at a time may lose a function.
Status AddVerified(const std::filesystem::path& entry, const HostFacts& host,
                   const std::string& function, const Placement& placement);

// One load of a function that is not verified. A process that dies in it leaves the mark behind; a
// function with kMaxDeaths of them is refused instead of taking the process down again.
class LoadAttempt {
 public:
  static constexpr int kMaxDeaths = 2;  // chosen: one may be the user's interrupt

  // kUnsupported: earlier ones ended with their process.
  static Result<std::unique_ptr<LoadAttempt>> Begin(const std::filesystem::path& entry,
                                                    const std::string& function);
  ~LoadAttempt();  // an orderly end, whatever it was: removes the mark
  LoadAttempt(const LoadAttempt&) = delete;
  LoadAttempt& operator=(const LoadAttempt&) = delete;

  static std::filesystem::path MarkOf(const std::filesystem::path& entry,
                                      const std::string& function);

 private:
  LoadAttempt(std::filesystem::path mark, std::optional<FileLock> lock)
      : mark_(std::move(mark)), lock_(std::move(lock)) {}
  std::filesystem::path mark_;
  std::optional<FileLock> lock_;  // none: another process is at it, and counts
};

}  // namespace npumoe::coreml_device
