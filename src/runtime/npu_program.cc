#include "runtime/npu_program.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace npumoe {
namespace {

constexpr uint16_t kF16ExponentMask = 0x7C00;  // all ones: infinity or NaN

// Index of the declaration named as `wanted`, which must have its type and shape.
Result<size_t> FindSpec(const std::vector<TensorSpec>& declared, const TensorSpec& wanted,
                        const char* what) {
  for (size_t i = 0; i < declared.size(); ++i) {
    if (declared[i].name != wanted.name) continue;
    if (declared[i].dtype == wanted.dtype && declared[i].shape == wanted.shape) return i;
    return InvalidInput(
        fmt::format("{} '{}' is {} {}, but the plan needs {} {}: the package was "
                    "compiled for another plan; compile this one",
                    what, wanted.name, Name(declared[i].dtype), declared[i].shape.ToString(),
                    Name(wanted.dtype), wanted.shape.ToString()));
  }
  return InvalidInput(
      fmt::format("no {} '{}': the package was compiled for another plan; compile this one", what,
                  wanted.name));
}

uint16_t* Elements(DeviceBuffer* buffer) {
  return reinterpret_cast<uint16_t*>(buffer->bytes().data());
}

bool RowsAreFinite(const uint16_t* values, int64_t count) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    finite &= (values[i] & kF16ExponentMask) != kF16ExponentMask;
  }
  return finite;
}

}  // namespace

Result<std::unique_ptr<NpuProgram>> NpuProgram::Bind(std::unique_ptr<Program> program,
                                                     const Graph& graph,
                                                     const PlannedProgram& planned,
                                                     int64_t hidden_size, int layer, int index) {
  const bool per_expert = planned.form == GraphForm::kDenseChains;
  const size_t tensors = per_expert ? planned.experts.size() : 1;
  if (program->inputs().size() != tensors || program->outputs().size() != tensors) {
    return InvalidInput(fmt::format(
        "{} inputs and {} outputs, but the plan needs {} of each: the package was compiled for "
        "another plan; compile this one",
        program->inputs().size(), program->outputs().size(), tensors));
  }
  NPUMOE_CHECK(graph.inputs.size() == tensors && graph.outputs.size() == tensors);
  std::unique_ptr<NpuProgram> bound(new NpuProgram());
  for (size_t slot = 0; slot < planned.experts.size(); ++slot) {
    const size_t tensor = per_expert ? slot : 0;
    const TensorSpec* output = graph.Find(graph.outputs[tensor]);
    NPUMOE_CHECK(output != nullptr);
    SlotPlace place;
    place.capacity = planned.experts[slot].capacity;
    place.offset = per_expert ? 0 : static_cast<int64_t>(slot) * hidden_size * place.capacity;
    NPUMOE_ASSIGN_OR_RETURN(place.input,
                            FindSpec(program->inputs(), graph.inputs[tensor], "input"));
    NPUMOE_ASSIGN_OR_RETURN(place.output, FindSpec(program->outputs(), *output, "output"));
    bound->slots_.push_back(place);
  }
  bound->program_ = std::move(program);
  bound->planned_ = planned;
  bound->hidden_size_ = hidden_size;
  bound->layer_ = layer;
  bound->index_ = index;
  return bound;
}

void NpuProgram::Gather(int slot, ConstMatrix hidden, std::span<const int32_t> assignments,
                        int experts_per_token, std::span<DeviceBuffer* const> inputs,
                        ThreadPool& pool) const {
  const SlotPlace& place = slots_[static_cast<size_t>(slot)];
  uint16_t* out = Elements(inputs[place.input]) + place.offset;
  if (planned_.form == GraphForm::kBatchedMatmul) {
    GatherRowsF16(hidden, assignments, experts_per_token, place.capacity, out, pool);
  } else {
    GatherTransposedF16(hidden, assignments, experts_per_token, place.capacity, out, pool);
  }
}

void NpuProgram::RowsPerInput(std::span<const std::span<const int32_t>> slots,
                              std::vector<int>& rows) const {
  rows.assign(program_->inputs().size(), 0);
  for (size_t slot = 0; slot < slots.size(); ++slot) {
    int& filled = rows[slots_[slot].input];
    filled = std::max(filled, static_cast<int>(slots[slot].size()));
  }
}

OutputRow NpuProgram::OutputOf(int slot, int64_t row,
                               std::span<DeviceBuffer* const> outputs) const {
  const SlotPlace& place = slots_[static_cast<size_t>(slot)];
  const uint16_t* base = Elements(outputs[place.output]) + place.offset;
  if (planned_.form == GraphForm::kBatchedMatmul) {
    return {base + row * hidden_size_, 1, OutputRow::Layout::kF16Row};
  }
  return {base + row, place.capacity, OutputRow::Layout::kF16Column};
}

bool NpuProgram::IsFinite(int slot, int64_t rows, std::span<DeviceBuffer* const> outputs) const {
  const SlotPlace& place = slots_[static_cast<size_t>(slot)];
  const uint16_t* base = Elements(outputs[place.output]) + place.offset;
  if (planned_.form == GraphForm::kBatchedMatmul) return RowsAreFinite(base, rows * hidden_size_);
  if (rows == place.capacity) return RowsAreFinite(base, rows * hidden_size_);
  bool finite = true;
  for (int64_t channel = 0; channel < hidden_size_; ++channel) {
    finite &= RowsAreFinite(base + channel * place.capacity, rows);
  }
  return finite;
}

}  // namespace npumoe
