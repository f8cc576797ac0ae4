#include "npu/emulator/executable.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

#include "graph/arguments.h"
#include "graph/shape_inference.h"
#include "npu/emulator/operations.h"

namespace npumoe::emulator {
namespace {

// Chosen: what one launch may need on the machine that emulates. A chip's own limits on axes
// keep real expert programs at a hundredth of it.
constexpr int64_t kMaxWorkspaceBytes = int64_t{8} << 30;

Status AddOne(StepBuilder& builder, const Operation& operation) {
  const OperationSchema* schema = FindOperationSchema(operation.type);
  const AddOperation add = FindOperation(operation.type);
  if (schema == nullptr || add == nullptr) {
    return Unsupported(
        fmt::format("unknown-operation: operation '{}' ({}) is none that the "
                    "emulated NPU executes",
                    operation.name, operation.type));
  }
  NPUMOE_ASSIGN_OR_RETURN(const Arguments arguments,
                          Arguments::Bind(operation, schema->parameters, builder.values()));
  NPUMOE_RETURN_IF_ERROR(add(builder, operation, arguments));
  return builder.FinishOperation(operation);
}

}  // namespace

Result<std::shared_ptr<const Executable>> Executable::Build(
    Graph graph, std::vector<std::shared_ptr<const void>> storage) {
  std::shared_ptr<Executable> executable(new Executable());
  executable->graph_ = std::move(graph);
  executable->storage_ = std::move(storage);
  NPUMOE_RETURN_IF_ERROR(executable->AddOperations());
  NPUMOE_RETURN_IF_ERROR(executable->Place());
  executable->MeasureInputs();
  return std::shared_ptr<const Executable>(std::move(executable));
}

Status Executable::AddOperations() {
  NPUMOE_ASSIGN_OR_RETURN(StepBuilder builder, StepBuilder::Create(graph_));
  for (const Operation& operation : graph_.operations) {
    NPUMOE_RETURN_IF_ERROR(AddOne(builder, operation));
  }
  steps_ = std::move(builder.steps);
  blocks_ = std::move(builder.blocks);
  constants_ = std::move(builder.constants);
  materialised_ = std::move(builder.materialised);
  products_ = std::move(builder.products);
  io_bytes_ = builder.activation_bytes;
  for (const std::string& name : graph_.outputs) outputs_.push_back(*graph_.Find(name));
  return OkStatus();
}

Status Executable::Place() {
  workspace_floats_ = PlaceBlocks(steps_, blocks_);
  if (workspace_floats_ > kMaxWorkspaceBytes / static_cast<int64_t>(sizeof(float))) {
    return ResourceExhausted(
        fmt::format("program-too-large: its intermediate values need {} bytes; the emulated NPU "
                    "allows {}",
                    workspace_floats_ * static_cast<int64_t>(sizeof(float)), kMaxWorkspaceBytes));
  }
  return OkStatus();
}

void Executable::MeasureInputs() {
  weight_bytes_ = graph_.WeightBytes();
  for (const TensorSpec& spec : graph_.inputs) io_bytes_ += static_cast<double>(spec.bytes());
  for (const TensorSpec& spec : outputs_) io_bytes_ += static_cast<double>(spec.bytes());
  input_capacity_.assign(graph_.inputs.size(), 0);
  for (const ProductWork& product : products_) {
    if (product.input < 0) continue;
    int64_t& capacity = input_capacity_[static_cast<size_t>(product.input)];
    capacity = std::max(capacity, static_cast<int64_t>(product.rows));
  }
}

LaunchCost Executable::Cost(const NpuCosts& npu, std::span<const int> rows) const {
  std::vector<LaunchWork> works;
  works.reserve(products_.size());
  for (const ProductWork& product : products_) {
    LaunchWork work;
    work.rows = product.rows;
    if (npu.cost_follows_rows && !rows.empty() && product.input >= 0) {
      work.rows =
          std::min(product.rows, static_cast<double>(rows[static_cast<size_t>(product.input)]));
    }
    work.flops = work.rows * product.flops_per_row;
    work.weight_bytes = product.weight_bytes;
    works.push_back(work);
  }
  return ModelLaunch(npu, works, io_bytes_);
}

Status Executable::Run(std::span<const std::span<const std::byte>> inputs,
                       std::span<const std::span<std::byte>> outputs,
                       AlignedBuffer<float>& workspace, ThreadPool& pool) const {
  try {
    workspace.EnsureSize(static_cast<size_t>(workspace_floats_));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(fmt::format("no memory for {} bytes of intermediate values",
                                         workspace_floats_ * static_cast<int64_t>(sizeof(float))));
  }
  const Launch launch{blocks_, workspace.data(), inputs, outputs, &pool};
  for (const Step& step : steps_) step.run(launch);
  return OkStatus();
}

}  // namespace npumoe::emulator
