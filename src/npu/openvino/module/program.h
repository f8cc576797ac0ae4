// A compiled function and its infer requests.
#pragma once

#include <memory>
#include <mutex>
#include <openvino/runtime/compiled_model.hpp>
#include <openvino/runtime/infer_request.hpp>
#include <vector>

#include "base/status.h"
#include "npu/device.h"
#include "npu/openvino/module/buffers.h"
#include "npu/openvino/module/runtime.h"
#include "npu/openvino/request_queue.h"
#include "npu/package_cache.h"

namespace npumoe::openvino {

// What a device and its programs share; lives as long as the last of them.
struct Core {
  Core(std::unique_ptr<Runtime> r, RequestId first_id)
      : runtime(std::move(r)),
        queue(runtime->settings().max_requests_in_flight, runtime->max_running(), first_id) {}

  const std::unique_ptr<Runtime> runtime;
  PackageCache packages;
  RequestQueue queue;
};

// One of the library's requests. Its answer goes to the queue, under the id that it runs for.
struct InferSlot {
  ov::InferRequest request;
  RequestId id = 0;
};

class CompiledProgram final : public Program {
 public:
  CompiledProgram(std::shared_ptr<Core> core, const Graph& graph, ov::CompiledModel model,
                  double load_ms);
  // Waiting requests are cancelled, a running one is finished first.
  ~CompiledProgram() override;

  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  int64_t weight_bytes() const override { return weight_bytes_; }
  Result<std::unique_ptr<DeviceBuffer>> Allocate(const TensorSpec& spec) override;
  Result<std::unique_ptr<DeviceBuffer>> Wrap(const TensorSpec& spec,
                                             std::span<std::byte> memory) override;
  LaunchReport load_report() const override { return {.time_ms = load_ms_}; }

  const std::shared_ptr<Core>& core() const { return core_; }
  Result<RequestId> Submit(std::span<TensorBuffer* const> inputs,
                           std::span<TensorBuffer* const> outputs);

 private:
  // Requests that nobody uses. Those in use come back to it, maybe after the program has gone.
  struct Idle {
    std::mutex mutex;
    std::vector<std::unique_ptr<InferSlot>> slots;
  };
  Status CheckSpec(const TensorSpec& spec) const;
  std::shared_ptr<InferSlot> TakeSlot();
  std::unique_ptr<InferSlot> TakeIdle();  // null: there is none
  std::unique_ptr<InferSlot> MakeSlot();

  std::shared_ptr<Core> core_;
  ov::CompiledModel model_;
  std::vector<TensorSpec> inputs_, outputs_;
  int64_t weight_bytes_ = 0;
  double load_ms_ = 0;
  std::shared_ptr<Idle> idle_ = std::make_shared<Idle>();
};

bool SameLayout(const TensorSpec& a, const TensorSpec& b);
std::string Describe(const TensorSpec& spec);

}  // namespace npumoe::openvino
