#include "npu/emulator/step_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "kernels/convert/convert.h"
#include "npu/emulator/strided.h"

namespace npumoe::emulator {
namespace {

constexpr int64_t kConvertQuantum = 4096;  // elements; chosen: some microseconds of work

bool IsExecutable(DType dtype) { return dtype == DType::kF16 || dtype == DType::kF32; }

Status RefuseType(const TensorSpec& spec) {
  return Unsupported(
      fmt::format("unsupported-type: value '{}' is {}; the emulated NPU computes "
                  "with F16 and F32",
                  spec.name, Name(spec.dtype)));
}

TensorView ViewOf(const TensorSpec& spec, const std::byte* data) {
  return {spec.dtype, spec.shape, data};
}

}  // namespace

ChannelShape ChannelsOf(const Shape& shape) {
  NPUMOE_CHECK(shape.rank() >= 2);
  ChannelShape result{.batches = shape[0], .channels = shape[1], .spatial = 1};
  for (int axis = 2; axis < shape.rank(); ++axis) result.spatial *= shape[axis];
  return result;
}

Result<StepBuilder> StepBuilder::Create(const Graph& graph) {
  StepBuilder builder;
  builder.graph_ = &graph;
  for (const auto& [name, constant] : graph.constants) {
    builder.values_[name] = {constant.spec, &constant};
    builder.states_[name] = {};
  }
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const TensorSpec& spec = graph.inputs[i];
    if (!IsExecutable(spec.dtype)) return RefuseType(spec);
    builder.values_[spec.name] = {spec, nullptr};
    State& state = builder.states_[spec.name];
    state.graph_input = state.depends_on = static_cast<int>(i);
  }
  for (const Operation& operation : graph.operations) {
    for (const TensorSpec& spec : operation.outputs) {
      if (!IsExecutable(spec.dtype)) return RefuseType(spec);
      builder.values_[spec.name] = {spec, nullptr, IsConstexpr(operation)};
      builder.states_[spec.name] = {};
    }
  }
  return builder;
}

const TensorSpec& StepBuilder::Spec(const std::string& value) const {
  return values_.at(value).spec;
}

const Constant* StepBuilder::ConstantOf(const std::string& value) const {
  return values_.at(value).constant;
}

TensorView StepBuilder::WeightView(const std::string& value) const {
  const TensorSpec& spec = Spec(value);
  if (const std::byte* made = states_.at(value).materialised; made != nullptr) {
    return ViewOf(spec, made);
  }
  const Constant* constant = ConstantOf(value);
  const auto* weight = constant == nullptr ? nullptr : std::get_if<WeightData>(&constant->value);
  if (weight == nullptr || weight->view.empty()) return {};
  return ViewOf(spec, weight->view.data);
}

Result<float> StepBuilder::ScalarFloat(const Arguments& arguments, std::string_view parameter,
                                       float fallback) const {
  if (!arguments.Has(parameter)) return fallback;
  const Constant* constant = ConstantOf(arguments.Spec(parameter).name);
  const auto* floats =
      constant == nullptr ? nullptr : std::get_if<std::vector<float>>(&constant->value);
  if (floats == nullptr || floats->size() != 1) {
    return arguments.NotSupported(std::string(parameter) + " that is no constant number");
  }
  return floats->front();
}

Result<std::span<const float>> StepBuilder::ConstantFloats(const std::string& value) {
  NPUMOE_ASSIGN_OR_RETURN(const BlockId id, RowMajor(value));
  const Block& block = blocks[static_cast<size_t>(id)];
  if (block.constant == nullptr) {
    return Unsupported(fmt::format("value '{}' must be a constant", value));
  }
  return std::span<const float>(block.constant, static_cast<size_t>(block.elements));
}

BlockId StepBuilder::AddBlock(int64_t elements) {
  blocks.push_back({.elements = elements, .offset = -1, .constant = nullptr});
  return static_cast<BlockId>(blocks.size() - 1);
}

BlockId StepBuilder::Scratch(int64_t elements) { return AddBlock(elements); }

BlockId StepBuilder::Declare(const TensorSpec& result) {
  return states_.at(result.name).row_major = AddBlock(result.shape.elements());
}

BlockId StepBuilder::DeclareTokenMajor(const TensorSpec& result) {
  return states_.at(result.name).token_major = AddBlock(result.shape.elements());
}

Result<std::span<std::byte>> StepBuilder::DeclareMaterialised(const TensorSpec& result) {
  try {
    materialised.push_back(std::make_unique<AlignedBuffer<std::byte>>(result.bytes()));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(
        fmt::format("no memory for the {} bytes of the weight '{}'", result.bytes(), result.name));
  }
  const std::span<std::byte> bytes = materialised.back()->span();
  states_.at(result.name).materialised = bytes.data();
  return bytes;
}

void StepBuilder::DeclareAlias(const TensorSpec& result, BlockId block) {
  states_.at(result.name).row_major = block;
}

bool StepBuilder::IsOnlyTokenMajor(const std::string& value) const {
  const State& state = states_.at(value);
  return state.row_major < 0 && state.token_major >= 0;
}

void StepBuilder::AddStep(std::vector<BlockId> used, std::function<void(const Launch&)> run) {
  steps.push_back({std::move(used), std::move(run)});
}

void StepBuilder::AddRounding(const TensorSpec& result, BlockId block) {
  if (result.dtype != DType::kF16) return;
  AddStep({block}, [block](const Launch& launch) {
    const std::span<float> values = launch.Write(block);
    launch.pool->ParallelRanges(
        static_cast<int64_t>(values.size()), kConvertQuantum, [&](int64_t begin, int64_t end, int) {
          RoundToF16(values.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
        });
  });
}

void StepBuilder::AddLoad(const TensorSpec& spec, int input, BlockId block) {
  AddStep({block}, [spec, input, block](const Launch& launch) {
    const std::span<float> values = launch.Write(block);
    const TensorView view = ViewOf(spec, launch.inputs[static_cast<size_t>(input)].data());
    launch.pool->ParallelRanges(
        static_cast<int64_t>(values.size()), kConvertQuantum, [&](int64_t begin, int64_t end, int) {
          ToF32(view, begin,
                values.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
        });
  });
}

Result<BlockId> StepBuilder::RowMajor(const std::string& value) {
  State& state = states_.at(value);
  if (state.row_major >= 0) return state.row_major;
  const TensorSpec spec = Spec(value);
  if (!IsExecutable(spec.dtype)) return RefuseType(spec);
  const int64_t elements = spec.shape.elements();
  const BlockId block = AddBlock(elements);
  const Constant* constant = ConstantOf(value);
  if (constant != nullptr || state.materialised != nullptr) {
    auto floats = std::make_unique<AlignedBuffer<float>>(static_cast<size_t>(elements));
    const auto* numbers =
        constant == nullptr ? nullptr : std::get_if<std::vector<float>>(&constant->value);
    const TensorView weight = WeightView(value);
    if (numbers == nullptr && weight.empty()) return RefuseType(spec);
    if (numbers != nullptr) {
      std::copy(numbers->begin(), numbers->end(), floats->data());
    } else {
      ToF32(weight, 0, floats->span());
    }
    blocks[static_cast<size_t>(block)].constant = floats->data();
    constants.push_back(std::move(floats));
  } else if (state.token_major >= 0) {
    const ChannelShape shape = ChannelsOf(spec.shape);
    const BlockId from = state.token_major;
    AddStep({from, block}, [shape, from, block](const Launch& launch) {
      TransposeMatrices(shape.batches, shape.spatial, shape.channels, launch.Read(from).data(),
                        launch.Write(block).data(), *launch.pool);
    });
  } else {
    NPUMOE_CHECK(state.graph_input >= 0);
    AddLoad(spec, state.graph_input, block);
  }
  return state.row_major = block;
}

Result<BlockId> StepBuilder::TokenMajor(const std::string& value) {
  State& state = states_.at(value);
  if (state.token_major >= 0) return state.token_major;
  NPUMOE_ASSIGN_OR_RETURN(const BlockId from, RowMajor(value));
  const ChannelShape shape = ChannelsOf(Spec(value).shape);
  const BlockId block = AddBlock(Spec(value).shape.elements());
  AddStep({from, block}, [shape, from, block](const Launch& launch) {
    TransposeMatrices(shape.batches, shape.channels, shape.spatial, launch.Read(from).data(),
                      launch.Write(block).data(), *launch.pool);
  });
  return state.token_major = block;
}

void StepBuilder::AddProduct(ProductWork work, const std::string& rows_from) {
  const int input = states_.at(rows_from).depends_on;
  work.input = input >= 0 ? input : -1;
  products.push_back(work);
}

Status StepBuilder::AddStore(const TensorSpec& spec, int output) {
  NPUMOE_ASSIGN_OR_RETURN(const BlockId block, RowMajor(spec.name));
  const DType dtype = spec.dtype;
  AddStep({block}, [block, output, dtype](const Launch& launch) {
    const std::span<const float> values = launch.Read(block);
    std::byte* target = launch.outputs[static_cast<size_t>(output)].data();
    launch.pool->ParallelRanges(
        static_cast<int64_t>(values.size()), kConvertQuantum, [&](int64_t begin, int64_t end, int) {
          const auto part =
              values.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
          if (dtype == DType::kF16) {
            F32ToF16(part, reinterpret_cast<uint16_t*>(target) + begin);
          } else {
            std::memcpy(target + static_cast<size_t>(begin) * sizeof(float), part.data(),
                        part.size_bytes());
          }
        });
  });
  return OkStatus();
}

Status StepBuilder::FinishOperation(const Operation& operation) {
  int depends_on = kNoInput;
  for (const auto& [parameter, bound] : operation.inputs) {
    for (const std::string& value : bound) {
      const int other = states_.at(value).depends_on;
      if (other == kNoInput || other == depends_on) continue;
      depends_on = depends_on == kNoInput ? other : kSeveralInputs;
    }
  }
  for (const TensorSpec& spec : operation.outputs) {
    states_.at(spec.name).depends_on = depends_on;
    for (size_t i = 0; i < graph_->outputs.size(); ++i) {
      if (graph_->outputs[i] != spec.name) continue;
      NPUMOE_RETURN_IF_ERROR(AddStore(spec, static_cast<int>(i)));
    }
  }
  return OkStatus();
}

}  // namespace npumoe::emulator
