// What OpenVINO throws, as typed Status. Exceptions of the library end in this folder.
#pragma once

#include <exception>
#include <string>

#include "base/status.h"

namespace npumoe::openvino {

// The library has few exception types; what happened stands in the text. A failure that is none of
// memory, lost device or cancellation is kUnsupported: this program cannot be used on this target.
Status FailureOf(std::exception_ptr thrown, const std::string& doing);

// The value of `body`, or the failure. `doing`: "compiling function 'main'".
template <class Body>
auto Guarded(const std::string& doing, const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    return FailureOf(std::current_exception(), doing);
  }
}

}  // namespace npumoe::openvino
