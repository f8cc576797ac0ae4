#include "npu/coreml/bridge_failure.h"

#include <fmt/format.h>

#include <cerrno>
#include <optional>
#include <string_view>

namespace npumoe::coreml_device {
namespace {

constexpr std::string_view kCoremlDomain = "com.apple.CoreML";
constexpr std::string_view kCocoaDomain = "NSCocoaErrorDomain";
constexpr std::string_view kPosixDomain = "NSPOSIXErrorDomain";

struct KnownCode {
  std::string_view domain;
  int64_t code;
  StatusCode meaning;
};

constexpr KnownCode kKnownCodes[] = {
    {kCoremlDomain, 1, StatusCode::kInvalidInput},        // feature type
    {kCoremlDomain, 3, StatusCode::kIo},                  // input/output
    {kCoremlDomain, 11, StatusCode::kCancelled},          // prediction cancelled
    {kCocoaDomain, 4, StatusCode::kNotFound},             // no such file
    {kCocoaDomain, 260, StatusCode::kNotFound},           // no such file to read
    {kCocoaDomain, 257, StatusCode::kIo},                 // no permission to read
    {kCocoaDomain, 513, StatusCode::kIo},                 // no permission to write
    {kCocoaDomain, 640, StatusCode::kResourceExhausted},  // disk full
    {kCocoaDomain, 4097, StatusCode::kDeviceLost},        // service interrupted
    {kCocoaDomain, 4099, StatusCode::kDeviceLost},        // service gone
    {kCocoaDomain, 4101, StatusCode::kDeviceLost},        // service's reply invalid
    {kPosixDomain, ENOENT, StatusCode::kNotFound},
    {kPosixDomain, ENOSPC, StatusCode::kResourceExhausted},
    {kPosixDomain, ENOMEM, StatusCode::kResourceExhausted},
};

struct KnownText {
  std::string_view text;
  const char* rule;
};

// Codes of the Neural Engine's driver that only appear inside messages.
constexpr KnownText kKnownTexts[] = {
    {"0x50004", "too-many-programs"},
    {"0x20004", "program-too-large"},
    {"2147483648", "weight-file-too-large"},
};

StatusCode MeaningOf(const Failure& failure, Step step) {
  for (const KnownCode& known : kKnownCodes) {
    if (known.domain == failure.domain && known.code == failure.code) return known.meaning;
  }
  // Before a prediction the graph is what does not please; a prediction that fails without a
  // reason may go well next time.
  return step == Step::kPredict ? StatusCode::kIo : StatusCode::kUnsupported;
}

}  // namespace

const char* Name(Step step) {
  switch (step) {
    case Step::kCompile:
      return "compile";
    case Step::kLoad:
      return "load";
    case Step::kPlan:
      return "compute plan";
    case Step::kBuffer:
      return "buffer";
    case Step::kPredict:
      return "prediction";
  }
  return "";
}

Status StatusOf(const Failure& failure, Step step) {
  const std::string reason =
      fmt::format("{}: {} ({} {})", Name(step), failure.message, failure.domain, failure.code);
  for (const KnownText& known : kKnownTexts) {
    if (failure.message.find(known.text) == std::string::npos) continue;
    return ResourceExhausted(fmt::format("{}: {}", known.rule, reason));
  }
  return {MeaningOf(failure, step), reason};
}

bool IsWorthARetry(const Status& status) {
  switch (status.code()) {
    case StatusCode::kUnsupported:
    case StatusCode::kIo:
    case StatusCode::kDeviceLost:
      return true;
    default:
      return false;
  }
}

}  // namespace npumoe::coreml_device
