// What the faults of a script do to a load, a launch and its outputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/tensor_view.h"
#include "npu/emulator/fault_script.h"

namespace npumoe::emulator {

// A well-mixed function of both, the same on every machine.
uint64_t MixedHash(uint64_t seed, uint64_t value);
double UnitFromHash(uint64_t hash);  // [0, 1)

const FaultEffect* FindEffect(std::span<const FaultEffect> effects, FaultKind kind);

// The status of the first refusal among the effects, worded as the emulator words its limits; ok
// where there is none.
Status RefusalAmong(std::span<const FaultEffect> effects);
Status DeviceIsLost();
// Ends the process as a driver's abort does. Writes no core file.
[[noreturn]] void CrashNow();

// wrong, nan and overflow. A row is one position of the last axis across the others in tensors of
// four axes [1, channels, 1, rows], and the last axis in others.
void CorruptOutputs(std::span<const FaultEffect> effects, std::span<const TensorSpec> specs,
                    std::span<const std::span<std::byte>> outputs);

}  // namespace npumoe::emulator
