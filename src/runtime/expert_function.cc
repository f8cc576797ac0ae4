#include "runtime/expert_function.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace npumoe {
Result<std::unique_ptr<ExpertFunction>> ExpertFunction::Bind(std::unique_ptr<Program> program,
                                                             const Graph& graph,
                                                             const PlannedProgram& planned,
                                                             int64_t hidden_size,
                                                             const ProgramId& id) {
  const bool per_expert = planned.form == GraphForm::kDenseChains;
  const size_t tensors = per_expert ? planned.experts.size() : 1;
  if (program->inputs().size() != tensors || program->outputs().size() != tensors) {
    return InvalidInput(fmt::format(
        "{} inputs and {} outputs, but the plan needs {} of each: the package was compiled for "
        "another plan; compile this one",
        program->inputs().size(), program->outputs().size(), tensors));
  }
  NPUMOE_CHECK(graph.inputs.size() == tensors && graph.outputs.size() == tensors);
  std::unique_ptr<ExpertFunction> bound(new ExpertFunction());
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
  bound->loaded_ = {id, std::move(program)};
  bound->planned_ = planned;
  bound->hidden_size_ = hidden_size;
  return bound;
}

void ExpertFunction::Gather(int slot, ConstMatrix hidden, std::span<const int32_t> assignments,
                            int experts_per_token, std::span<DeviceBuffer* const> inputs,
                            ThreadPool& pool) const {
  const SlotPlace& place = slots_[static_cast<size_t>(slot)];
  uint16_t* out = Fp16Of(inputs[place.input]) + place.offset;
  if (planned_.form == GraphForm::kBatchedMatmul) {
    GatherRowsF16(hidden, assignments, experts_per_token, place.capacity, out, pool);
  } else {
    GatherTransposedF16(hidden, assignments, experts_per_token, place.capacity, out, pool);
  }
}

void ExpertFunction::RowsPerInput(std::span<const std::span<const int32_t>> slots,
                                  std::vector<int>& rows) const {
  rows.assign(loaded_.program->inputs().size(), 0);
  for (size_t slot = 0; slot < slots.size(); ++slot) {
    int& filled = rows[slots_[slot].input];
    filled = std::max(filled, static_cast<int>(slots[slot].size()));
  }
}

OutputRow ExpertFunction::OutputOf(int slot, int64_t row,
                                   std::span<DeviceBuffer* const> outputs) const {
  const SlotPlace& place = slots_[static_cast<size_t>(slot)];
  const uint16_t* base = Fp16Of(outputs[place.output]) + place.offset;
  if (planned_.form == GraphForm::kBatchedMatmul) {
    return {base + row * hidden_size_, 1, OutputRow::Layout::kF16Row};
  }
  return {base + row, place.capacity, OutputRow::Layout::kF16Column};
}

bool ExpertFunction::IsFinite(int slot, int64_t rows,
                              std::span<DeviceBuffer* const> outputs) const {
  const SlotPlace& place = slots_[static_cast<size_t>(slot)];
  const uint16_t* base = Fp16Of(outputs[place.output]) + place.offset;
  if (planned_.form == GraphForm::kBatchedMatmul) return AreFinite(base, rows * hidden_size_);
  if (rows == place.capacity) return AreFinite(base, rows * hidden_size_);
  bool finite = true;
  for (int64_t channel = 0; channel < hidden_size_; ++channel) {
    finite &= AreFinite(base + channel * place.capacity, rows);
  }
  return finite;
}

}  // namespace npumoe
