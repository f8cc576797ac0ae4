// Executable: one function of a package, ready to run: its steps, where their blocks lie in the
// workspace, and what its launch costs. Immutable; runs use the caller's workspace.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/status.h"
#include "base/tensor_view.h"
#include "base/thread_pool.h"
#include "graph/graph.h"
#include "npu/emulator/step_builder.h"
#include "npu/emulator/workspace.h"
#include "npu/profile.h"

namespace npumoe::emulator {

class Executable {
 public:
  // `storage` keeps the bytes of the graph's weights alive.
  static Result<std::shared_ptr<const Executable>> Build(
      Graph graph, std::vector<std::shared_ptr<const void>> storage);

  const std::vector<TensorSpec>& inputs() const { return graph_.inputs; }
  const std::vector<TensorSpec>& outputs() const { return outputs_; }
  int64_t weight_bytes() const { return weight_bytes_; }

  // Rows of input i as its products see them (the capacity); 0 when it reaches no product alone.
  int64_t InputCapacity(size_t input) const { return input_capacity_[input]; }
  // `rows` per input or empty: what is computed when cost follows rows.
  LaunchCost Cost(const NpuCosts& npu, std::span<const int> rows) const;

  // Sizes must be those of the specs. Grows `workspace` where needed; kResourceExhausted when
  // there is no memory for it.
  Status Run(std::span<const std::span<const std::byte>> inputs,
             std::span<const std::span<std::byte>> outputs, AlignedBuffer<float>& workspace,
             ThreadPool& pool) const;

 private:
  Executable() = default;
  Status AddOperations();
  Status Place();
  void MeasureInputs();

  Graph graph_;
  std::vector<std::shared_ptr<const void>> storage_;
  std::vector<TensorSpec> outputs_;
  std::vector<Step> steps_;
  std::vector<Block> blocks_;
  std::vector<std::unique_ptr<AlignedBuffer<float>>> constants_;
  std::vector<std::unique_ptr<AlignedBuffer<std::byte>>> materialised_;
  std::vector<ProductWork> products_;
  std::vector<int64_t> input_capacity_;
  int64_t workspace_floats_ = 0;
  int64_t weight_bytes_ = 0;
  double io_bytes_ = 0;  // inputs, outputs and activations that no product hides
};

}  // namespace npumoe::emulator
