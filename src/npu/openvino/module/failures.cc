#include "npu/openvino/module/failures.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <initializer_list>
#include <new>
#include <openvino/runtime/exception.hpp>
#include <string_view>

namespace npumoe::openvino {
namespace {

constexpr size_t kMaxReasonBytes = 400;  // chosen: some lines of a terminal

// One line; the library's source positions ("Exception from src/...cpp:12:") mean nothing here.
std::string Reason(const char* what) {
  std::string text = what;
  while (true) {
    const size_t from = text.find(" from src/");
    const size_t end = text.find(":\n", from);
    if (from == std::string::npos || end == std::string::npos) break;
    const size_t line = text.rfind('\n', from);
    const size_t begin = line == std::string::npos ? 0 : line + 1;
    text.erase(begin, end + 2 - begin);
  }
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  const size_t last = text.find_last_not_of(" .");
  text.resize(std::min(last == std::string::npos ? 0 : last + 1, kMaxReasonBytes));
  return text;
}

bool ContainsAny(const std::string& text, std::initializer_list<std::string_view> parts) {
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return lower.find(part) != std::string::npos; });
}

// Texts of Level Zero (NPU), OpenCL (GPU) and the plugins.
StatusCode CodeOf(const std::string& reason) {
  if (ContainsAny(reason, {"device_lost", "device lost", "device_removed", "device hung",
                           "cl_device_not_available"})) {
    return StatusCode::kDeviceLost;
  }
  if (ContainsAny(reason, {"out_of_device_memory", "out_of_host_memory", "out_of_resources",
                           "out of memory", "cannot allocate", "failed to allocate",
                           "mem_object_allocation_failure", "bad_alloc", "exceeded max size"})) {
    return StatusCode::kResourceExhausted;
  }
  return StatusCode::kUnsupported;
}

}  // namespace

Status FailureOf(std::exception_ptr thrown, const std::string& doing) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(doing + ": no memory");
  } catch (const ov::Cancelled&) {
    return Status(StatusCode::kCancelled, doing + ": cancelled");
  } catch (const std::exception& e) {
    const std::string reason = Reason(e.what());
    return Status(CodeOf(reason), doing + ": OpenVINO: " + reason);
  } catch (...) {
    return Unsupported(doing + ": OpenVINO: an unknown exception");
  }
}

}  // namespace npumoe::openvino
