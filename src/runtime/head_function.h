// HeadFunction: one loaded head program of so many rows, and where its slices of the vocabulary lie
// (graph/head_program.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "graph/graph.h"
#include "kernels/matrix.h"
#include "npu/device.h"
#include "runtime/loaded_function.h"

namespace npumoe {

class HeadFunction {
 public:
  // Fails when the loaded program declares something else than `graph` (compiled for another plan).
  static Result<std::unique_ptr<HeadFunction>> Bind(std::unique_ptr<Program> program,
                                                    const Graph& graph, const ProgramId& id);

  LoadedFunction& loaded() { return loaded_; }
  int64_t rows() const { return rows_; }

  // `normed` [rows that are filled, hidden]; zeros behind them.
  void Feed(ConstMatrix normed, std::span<DeviceBuffer* const> inputs, ThreadPool& pool) const;
  // logits [rows that are filled, vocabulary]. Whether all of them are finite.
  bool Take(std::span<DeviceBuffer* const> outputs, Matrix logits, ThreadPool& pool) const;

 private:
  struct Slice {
    size_t output = 0;  // index in Program::outputs
    int64_t first = 0;  // of its entries in the vocabulary
    int64_t entries = 0;
  };
  HeadFunction() = default;

  LoadedFunction loaded_;
  std::vector<Slice> slices_;
  int64_t rows_ = 0;
};

}  // namespace npumoe
