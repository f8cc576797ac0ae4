// For tests only: a device around another one that fails on command, call by call.
#pragma once

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "npu/device.h"

namespace npumoe {

enum class Fault {
  kNone,
  kRefuse,         // the call fails with `failure`
  kDeadline,       // Wait: still running at the first call, done at the next
  kNan,            // Wait: one NaN in the first row of the first output
  kPoisonPadding,  // Wait: NaN in every row behind the filled ones (form C)
  kTenthWrong,     // Wait: every tenth of the launch's filled rows is other numbers (form C)
};

class FaultyDevice final : public Device {
 public:
  explicit FaultyDevice(Device& inner) : inner_(inner) {}

  // Decide by the number of the call, from 0.
  std::function<Fault(int call)> on_load = [](int) { return Fault::kNone; };
  std::function<Fault(int call)> on_submit = [](int) { return Fault::kNone; };
  std::function<Fault(int call)> on_wait = [](int) { return Fault::kNone; };
  Status failure{StatusCode::kUnsupported, "refused by the test"};
  int submits = 0;
  bool is_gone = false;  // Reopen fails
  int reopened = 0;      // calls of Reopen
  int loads() const { return loads_; }

  DeviceInfo info() const override { return inner_.info(); }
  Status Supports(const std::filesystem::path& package, const std::string& function) override {
    return inner_.Supports(package, function);
  }

  // Programs of before stay lost.
  Status Reopen() override {
    ++reopened;
    return is_gone ? failure : inner_.Reopen();
  }

  Result<std::unique_ptr<Program>> Load(const std::filesystem::path& package,
                                        const std::string& function) override {
    if (on_load(loads_++) == Fault::kRefuse) return failure;
    NPUMOE_ASSIGN_OR_RETURN(auto program, inner_.Load(package, function));
    return std::unique_ptr<Program>(std::make_unique<Wrapped>(std::move(program), reopened));
  }

  Result<RequestId> Submit(const LaunchRequest& request) override {
    if (on_submit(submits++) == Fault::kRefuse) return failure;
    const auto* program = static_cast<Wrapped*>(request.program);
    if (program->opening != reopened) return Status(StatusCode::kDeviceLost, "of another opening");
    LaunchRequest passed = request;
    passed.program = program->inner.get();
    NPUMOE_ASSIGN_OR_RETURN(const RequestId id, inner_.Submit(passed));
    running_[id] = {{request.outputs.begin(), request.outputs.end()},
                    {request.rows.begin(), request.rows.end()},
                    passed.program->outputs()};
    return id;
  }

  Result<LaunchReport> Wait(RequestId id, double timeout_ms) override {
    const Fault fault = late_.contains(id) ? Fault::kNone : on_wait(waits_++);
    if (fault == Fault::kDeadline) {
      late_.insert(id);
      return Status(StatusCode::kDeadlineExceeded, "still running, says the test");
    }
    auto report = inner_.Wait(id, timeout_ms);
    if (fault == Fault::kRefuse) return failure;
    const auto& running = running_.at(id);
    if (fault == Fault::kNan) Elements(*running.outputs.front())[0] = kNan;
    if (fault == Fault::kPoisonPadding) PoisonPadding(running);
    if (fault == Fault::kTenthWrong) SpoilRows(running, 10);
    return report;
  }

 private:
  static constexpr uint16_t kNan = 0x7E00;
  struct Wrapped final : Program {
    Wrapped(std::unique_ptr<Program> program, int when)
        : inner(std::move(program)), opening(when) {}
    const std::vector<TensorSpec>& inputs() const override { return inner->inputs(); }
    const std::vector<TensorSpec>& outputs() const override { return inner->outputs(); }
    int64_t weight_bytes() const override { return inner->weight_bytes(); }
    Result<std::unique_ptr<DeviceBuffer>> Allocate(const TensorSpec& spec) override {
      return inner->Allocate(spec);
    }
    std::unique_ptr<Program> inner;
    int opening;
  };
  struct Running {
    std::vector<DeviceBuffer*> outputs;
    std::vector<int> rows;
    std::vector<TensorSpec> specs;
  };

  static uint16_t* Elements(DeviceBuffer& buffer) {
    return reinterpret_cast<uint16_t*>(buffer.bytes().data());
  }
  static void PoisonPadding(const Running& running) {
    for (size_t i = 0; i < running.outputs.size(); ++i) {
      const int64_t capacity = running.specs[i].shape[3];
      uint16_t* out = Elements(*running.outputs[i]);
      for (int64_t h = 0; h < running.specs[i].shape[1]; ++h) {
        for (int64_t r = running.rows[i]; r < capacity; ++r) out[h * capacity + r] = kNan;
      }
    }
  }

  // Row 0, `every`, ... of all filled rows of the launch get a value far off.
  static void SpoilRows(const Running& running, int every) {
    int row = 0;
    for (size_t slot = 0; slot < running.outputs.size(); ++slot) {
      uint16_t* elements = Elements(*running.outputs[slot]);
      for (int r = 0; r < running.rows[slot]; ++r, ++row) {
        if (row % every == 0) elements[r] = F16FromF32(1000);  // channel 0 of row r
      }
    }
  }

  Device& inner_;
  int loads_ = 0;
  int waits_ = 0;
  std::map<RequestId, Running> running_;
  std::set<RequestId> late_;
};

}  // namespace npumoe
