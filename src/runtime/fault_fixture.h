// For tests only: a small model on a device that fails on command.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "runtime/faulty_device.h"
#include "runtime/test_npu.h"

namespace npumoe {

inline constexpr double kNoRetry = 1e12;  // ms

class NpuFaults : public testing::Test {
 protected:
  NpuFaults() : bench_("qwen3-moe", {.capacity = 32}), device_(*bench_.emulator) {
    const Expected expected("qwen3-moe");
    prompt_ = expected.Ints("short.ids");
    greedy_ = expected.Ints("short.greedy");
    ids_ = expected.Ints("long.ids");
  }

  // Prefill of the long prompt on the device: equal to the CPU's, nothing lost.
  void ExpectSameAnswer(NpuExecutor& executor) {
    const auto session =
        OpenSession(bench_.model, bench_.pool, {.npu = &executor, .observer = &recorder_});
    const PrefillResult result = PrefillAll(*session, ids_);
    const auto cpu = OpenSession(bench_.model, bench_.pool);
    EXPECT_LE(RelativeError(result.logits, PrefillAll(*cpu, ids_).logits), kFp16LogitError);
    EXPECT_EQ(result.counts.assignments(), 200 * 4 * 3);
    EXPECT_EQ(result.counts.dropped_rows, 0);
  }

  NpuBench bench_;
  FaultyDevice device_;
  std::vector<int32_t> prompt_;
  std::vector<int32_t> greedy_;
  std::vector<int32_t> ids_;
  Recorder recorder_;
};

}  // namespace npumoe
