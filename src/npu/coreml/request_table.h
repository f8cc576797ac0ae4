// RequestTable: launches that were submitted and not collected. Core ML runs them in an order of
// its own and says when each is done.
//
// Thread rules: every function from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "base/status.h"
#include "npu/coreml/prediction.h"
#include "npu/device.h"

namespace npumoe::coreml_device {

class RequestTable {
 public:
  explicit RequestTable(int64_t max_in_flight) : max_in_flight_(max_in_flight) {}

  // kResourceExhausted when as many as allowed were submitted and not collected.
  Result<RequestId> Add();
  // The end of a request. The engine runs one prediction at a time, so the time of one begins when
  // the one before it ends.
  void Finish(RequestId id, const Status& status, PredictionTimes times);
  // kDeadlineExceeded: it still runs, and may be waited for again.
  Result<LaunchReport> Wait(RequestId id, double timeout_ms);
  bool IsIdle();  // nothing runs

 private:
  const int64_t max_in_flight_;
  std::mutex mutex_;
  std::condition_variable finished_;
  std::map<RequestId, std::optional<Result<LaunchReport>>> requests_;
  RequestId next_id_ = 1;
  double last_end_ms_ = 0;
};

}  // namespace npumoe::coreml_device
