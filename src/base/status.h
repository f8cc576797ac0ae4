// Status and Result: how every function reports what went wrong with input from the world
// (files, requests, devices). Our own mistakes go to NPUMOE_CHECK (check.h) instead.
//
// A message says what was found, what is allowed and what to do, and names the file and the
// field or tensor. It carries no trailing period and no newline.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace npumoe {

enum class StatusCode {
  kOk,
  kUsage,              // wrong command line; the program exits with 2, everything else with 1
  kInvalidInput,       // a file or request contradicts its format or another file
  kNotFound,           // a file, tensor, function, expert that should be there is not
  kUnsupported,        // well-formed, but not something this build can do
  kResourceExhausted,  // memory, disk, programs of a process, bytes of a program
  kIo,                 // the operating system refused a read or write
  kDeadlineExceeded,   // a device did not answer in time
  kDeviceLost,         // a device is gone; its programs must be loaded again
  kNumeric,            // a device answered with wrong, NaN or infinite numbers
  kCancelled,          // the user stopped the work
};

// Stable lower-case name for messages and JSON: "invalid_input".
const char* Name(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same error with "context: " before its message; ok stays ok.
  Status WithContext(const std::string& context) const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status OkStatus() { return {}; }
inline Status UsageError(std::string m) { return {StatusCode::kUsage, std::move(m)}; }
inline Status InvalidInput(std::string m) { return {StatusCode::kInvalidInput, std::move(m)}; }
inline Status NotFound(std::string m) { return {StatusCode::kNotFound, std::move(m)}; }
inline Status Unsupported(std::string m) { return {StatusCode::kUnsupported, std::move(m)}; }
inline Status ResourceExhausted(std::string m) {
  return {StatusCode::kResourceExhausted, std::move(m)};
}
inline Status IoError(std::string m) { return {StatusCode::kIo, std::move(m)}; }

// A value or the reason why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}        // NOLINT: implicit by design
  Result(Status status) : state_(std::move(status)) {  // NOLINT: implicit by design
    NPUMOE_CHECK(!std::get<Status>(state_).ok());
  }

  bool ok() const { return std::holds_alternative<T>(state_); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }

  T& value() & { return Checked(); }
  const T& value() const& { return const_cast<Result*>(this)->Checked(); }
  T&& value() && { return std::move(Checked()); }
  T& operator*() & { return Checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(Checked()); }
  T* operator->() { return &Checked(); }
  const T* operator->() const { return &value(); }

 private:
  T& Checked() {
    NPUMOE_CHECK(ok());
    return std::get<T>(state_);
  }
  std::variant<T, Status> state_;
};

}  // namespace npumoe

#define NPUMOE_CONCAT_INNER(a, b) a##b
#define NPUMOE_CONCAT(a, b) NPUMOE_CONCAT_INNER(a, b)

// Leaves the function with the error of `expression`, if it has one.
#define NPUMOE_RETURN_IF_ERROR(expression)                        \
  do {                                                            \
    if (::npumoe::Status status_ = (expression); !status_.ok()) { \
      return status_;                                             \
    }                                                             \
  } while (false)

// NPUMOE_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
#define NPUMOE_ASSIGN_OR_RETURN(declaration, expression) \
  NPUMOE_ASSIGN_OR_RETURN_(declaration, expression, NPUMOE_CONCAT(result_, __LINE__))
#define NPUMOE_ASSIGN_OR_RETURN_(declaration, expression, result) \
  auto result = (expression);                                     \
  if (!result.ok()) return result.status();                       \
  declaration = std::move(result).value()
