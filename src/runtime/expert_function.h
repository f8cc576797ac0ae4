// ExpertFunction: one loaded expert program (a bucket of it) and where each expert's rows lie in
// its buffers. The only place at run time that knows the layouts of forms A, B and C
// (graph/expert_program.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "graph/graph.h"
#include "kernels/dispatch/dispatch.h"
#include "kernels/matrix.h"
#include "npu/device.h"
#include "plan/plan.h"
#include "runtime/loaded_function.h"

namespace npumoe {

class ExpertFunction {
 public:
  // `graph` is the lowered program: its inputs and outputs name the buffers in the order of the
  // experts. Fails when the loaded program declares something else (compiled for another plan).
  static Result<std::unique_ptr<ExpertFunction>> Bind(std::unique_ptr<Program> program,
                                                      const Graph& graph,
                                                      const PlannedProgram& planned,
                                                      int64_t hidden_size, const ProgramId& id);

  const PlannedProgram& planned() const { return planned_; }
  LoadedFunction& loaded() { return loaded_; }
  int layer() const { return loaded_.id.layer; }

  // Writes the rows of `hidden` that slot `slot` takes into its input, zeros behind them.
  void Gather(int slot, ConstMatrix hidden, std::span<const int32_t> assignments,
              int experts_per_token, std::span<DeviceBuffer* const> inputs, ThreadPool& pool) const;
  // Rows filled per input of the program, from the rows of each slot.
  void RowsPerInput(std::span<const std::span<const int32_t>> slots, std::vector<int>& rows) const;
  // Where row `row` of the slot's output lies.
  OutputRow OutputOf(int slot, int64_t row, std::span<DeviceBuffer* const> outputs) const;
  // Whether the first `rows` rows of the slot's output hold neither NaN nor infinity.
  bool IsFinite(int slot, int64_t rows, std::span<DeviceBuffer* const> outputs) const;

 private:
  struct SlotPlace {
    size_t input = 0;    // index in Program::inputs
    size_t output = 0;   // index in Program::outputs
    int64_t offset = 0;  // first element in either buffer
    int64_t capacity = 0;
  };
  ExpertFunction() = default;

  LoadedFunction loaded_;
  PlannedProgram planned_;
  std::vector<SlotPlace> slots_;
  int64_t hidden_size_ = 0;
};

}  // namespace npumoe
