// Numeric verification of loaded programs against the reference kernels with the programs' own
// (rounded) weights, and execution of one function of one package by itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/status.h"
#include "base/tensor_view.h"
#include "kernels/matrix.h"
#include "npu/device.h"
#include "runtime/npu_executor.h"

namespace npumoe {

// Largest |npu - reference| over the largest |reference| of one expert that a program may show.
// fp16 rounds by up to 2^-11 of a value; input, weights, gate, up, their product and the output
// are rounded once each, and sums of random signs do not add these up: 4 * 2^-11 = 2e-3.
inline constexpr double kProgramErrorLimit = 2e-3;

struct VerifyOptions {
  uint64_t seed = 1;
  // Filled and compared (up to the capacity); chosen: the plain reference is slow.
  int64_t rows_per_expert = 16;
  // Recorded inputs of expert FFNs [rows, hidden]; empty: normally distributed rows.
  ConstMatrix rows;
};

struct ProgramVerdict {
  ProgramId id;
  Status status;     // ok, or why it could not be executed
  double error = 0;  // the worst expert's, as above; infinity with NaN or infinite values
  int worst_expert = 0;
  int64_t rows = 0;  // compared; 0 for attention and head that nobody has launched
  double limit = kProgramErrorLimit;
  bool passed() const { return status.ok() && error <= limit; }
  bool was_compared() const { return !status.ok() || rows > 0; }
};

// One verdict per planned program: of experts the worst of its buckets, of attention and head that
// of the rows that launches were checked on (spot_check.h), if any. Those that are not in service
// carry their refusal.
std::vector<ProgramVerdict> VerifyPrograms(NpuExecutor& executor, const VerifyOptions& options);

struct OwnedTensor {
  TensorSpec spec;
  AlignedBuffer<std::byte> bytes;
  TensorView view() const { return {spec.dtype, spec.shape, bytes.data()}; }
};

// Executes one function of one package. Inputs by name, F32 or F16, converted to the type that
// the program declares; a missing, an extra and a misshapen one are errors that name it.
struct ProgramRun {
  std::map<std::string, OwnedTensor> outputs;
  LaunchReport report;
};
Result<ProgramRun> RunProgram(const std::filesystem::path& package, const std::string& function,
                              Device& device, const std::map<std::string, TensorView>& inputs,
                              double timeout_ms = 60000);
// The same for a program that is loaded. A request that still runs when the time is over keeps its
// program and buffers, which are never destroyed then: `program` becomes null.
Result<ProgramRun> RunLoadedProgram(std::unique_ptr<Program>& program, Device& device,
                                    const std::map<std::string, TensorView>& inputs,
                                    double timeout_ms);

}  // namespace npumoe
