#include "graph/expert_program.h"

#include <algorithm>
#include <set>

#include "base/checked_math.h"
#include "graph/builder.h"
#include "graph/shape_inference.h"

namespace npumoe {
namespace {

using Value = GraphBuilder::Value;

struct FfnWeights {
  Value gate, up, down;
};

std::string Suffixed(const char* name, int expert) {
  return std::string(name) + "_" + std::to_string(expert);
}

Status CheckWeight(const WeightData& weight, int64_t elements, const std::string& what) {
  if (!weight.view.empty()) {
    if (weight.view.dtype == DType::kF16 && weight.view.shape.elements() == elements) return {};
    return InvalidInput(what + " is " + Name(weight.view.dtype) + " " +
                        weight.view.shape.ToString() + "; F16 with " + std::to_string(elements) +
                        " elements is needed");
  }
  return weight.produce ? OkStatus() : InvalidInput(what + " has neither bytes nor a producer");
}

Status CheckSlot(const ExpertSlot& slot, int64_t elements) {
  const std::string expert = "expert " + std::to_string(slot.expert);
  if (slot.expert < 0) return InvalidInput(expert + ": an index below 0 cannot be named");
  if (slot.capacity < 1) {
    return InvalidInput(expert + ": capacity " + std::to_string(slot.capacity) +
                        "; at least one row is needed");
  }
  NPUMOE_RETURN_IF_ERROR(CheckWeight(slot.gate, elements, expert + ": gate"));
  NPUMOE_RETURN_IF_ERROR(CheckWeight(slot.up, elements, expert + ": up"));
  return CheckWeight(slot.down, elements, expert + ": down");
}

Status CheckSlots(GraphForm form, int64_t hidden, int64_t intermediate,
                  std::span<const ExpertSlot> experts) {
  const int64_t count = static_cast<int64_t>(experts.size());
  if (count == 0) return InvalidInput("an expert program needs at least one expert");
  NPUMOE_ASSIGN_OR_RETURN(const Shape all, CheckedShape(std::vector{count, hidden, intermediate}));
  std::set<int> seen;
  for (const ExpertSlot& slot : experts) {
    NPUMOE_RETURN_IF_ERROR(CheckSlot(slot, all.elements() / count));
    if (!seen.insert(slot.expert).second) {
      return InvalidInput("expert " + std::to_string(slot.expert) + " is listed twice");
    }
    if (form == GraphForm::kDenseChains || slot.capacity == experts.front().capacity) continue;
    return Unsupported(std::string("form ") + Name(form) + " needs equal capacities; found " +
                       std::to_string(experts.front().capacity) + " and " +
                       std::to_string(slot.capacity) + "; use form C or raise the smaller one");
  }
  return OkStatus();
}

Status Fill(const WeightData& weight, std::span<std::byte> bytes) {
  if (weight.view.empty()) return weight.produce(bytes);
  std::copy_n(weight.view.data, bytes.size(), bytes.data());
  return OkStatus();
}

// The weights of all experts one after another: [expert][out][in].
WeightData Stacked(std::span<const ExpertSlot> experts, WeightData ExpertSlot::*weight) {
  std::vector<WeightData> parts;
  for (const ExpertSlot& slot : experts) parts.push_back(slot.*weight);
  return {{}, [parts = std::move(parts)](std::span<std::byte> bytes) {
            const size_t part_bytes = bytes.size() / parts.size();
            for (size_t i = 0; i < parts.size(); ++i) {
              NPUMOE_RETURN_IF_ERROR(Fill(parts[i], bytes.subspan(i * part_bytes, part_bytes)));
            }
            return OkStatus();
          }};
}

void BuildGroupedConv(GraphBuilder& builder, int64_t hidden, int64_t intermediate,
                      std::span<const ExpertSlot> experts) {
  const auto groups = static_cast<int64_t>(experts.size());
  const Shape inward{groups * intermediate, hidden, 1, 1};
  const Shape outward{groups * hidden, intermediate, 1, 1};
  const GraphBuilder::ConvOptions options{groups, std::nullopt};
  const Value x =
      builder.Input("x", DType::kF16, Shape{1, groups * hidden, 1, experts.front().capacity});
  const FfnWeights w = {
      builder.Weight("w_gate", DType::kF16, inward, Stacked(experts, &ExpertSlot::gate)),
      builder.Weight("w_up", DType::kF16, inward, Stacked(experts, &ExpertSlot::up)),
      builder.Weight("w_down", DType::kF16, outward, Stacked(experts, &ExpertSlot::down))};
  const Value gate = builder.Conv("gate", x, w.gate, options);
  const Value up = builder.Conv("up", x, w.up, options);
  const Value act = builder.Mul("act", builder.Silu("gate_silu", gate), up);
  builder.Output(builder.Conv("y", act, w.down, options));
}

void BuildBatchedMatMul(GraphBuilder& builder, int64_t hidden, int64_t intermediate,
                        std::span<const ExpertSlot> experts) {
  const auto groups = static_cast<int64_t>(experts.size());
  const Shape inward{groups, intermediate, hidden};
  const Shape outward{groups, hidden, intermediate};
  const Value x = builder.Input("x", DType::kF16, Shape{groups, experts.front().capacity, hidden});
  const FfnWeights w = {
      builder.Weight("w_gate", DType::kF16, inward, Stacked(experts, &ExpertSlot::gate)),
      builder.Weight("w_up", DType::kF16, inward, Stacked(experts, &ExpertSlot::up)),
      builder.Weight("w_down", DType::kF16, outward, Stacked(experts, &ExpertSlot::down))};
  const auto product = [&](const char* name, const Value& rows, const Value& weight) {
    return builder.MatMul(name, rows, Operand::kAsIs, weight, Operand::kTransposed);
  };
  const Value gate = product("gate", x, w.gate);
  const Value up = product("up", x, w.up);
  const Value act = builder.Mul("act", builder.Silu("gate_silu", gate), up);
  builder.Output(product("y", act, w.down));
}

void BuildDenseChain(GraphBuilder& builder, int64_t hidden, int64_t intermediate,
                     const ExpertSlot& slot) {
  const auto named = [&](const char* name) { return Suffixed(name, slot.expert); };
  const Shape inward{intermediate, hidden, 1, 1};
  const Shape outward{hidden, intermediate, 1, 1};
  const Value x = builder.Input(named("x"), DType::kF16, Shape{1, hidden, 1, slot.capacity});
  const FfnWeights w = {builder.Weight(named("w_gate"), DType::kF16, inward, slot.gate),
                        builder.Weight(named("w_up"), DType::kF16, inward, slot.up),
                        builder.Weight(named("w_down"), DType::kF16, outward, slot.down)};
  const Value gate = builder.Conv(named("gate"), x, w.gate, {});
  const Value up = builder.Conv(named("up"), x, w.up, {});
  const Value act = builder.Mul(named("act"), builder.Silu(named("gate_silu"), gate), up);
  builder.Output(builder.Conv(named("y"), act, w.down, {}));
}

}  // namespace

const char* Name(GraphForm form) {
  switch (form) {
    case GraphForm::kGroupedConv:
      return "A";
    case GraphForm::kBatchedMatmul:
      return "B";
    case GraphForm::kDenseChains:
      return "C";
  }
  return "";
}

Result<GraphForm> ParseGraphForm(std::string_view text) {
  for (const GraphForm form :
       {GraphForm::kGroupedConv, GraphForm::kBatchedMatmul, GraphForm::kDenseChains}) {
    if (text == Name(form)) return form;
  }
  return InvalidInput("graph form '" + std::string(text) +
                      "' is not known; allowed are A (grouped convolution), B (batched matmul), "
                      "C (dense chains)");
}

Result<Graph> BuildExpertGraph(GraphForm form, int64_t hidden, int64_t intermediate,
                               std::span<const ExpertSlot> experts,
                               const std::string& function_name) {
  NPUMOE_RETURN_IF_ERROR(CheckSlots(form, hidden, intermediate, experts));
  GraphBuilder builder(function_name);
  switch (form) {
    case GraphForm::kGroupedConv:
      BuildGroupedConv(builder, hidden, intermediate, experts);
      break;
    case GraphForm::kBatchedMatmul:
      BuildBatchedMatMul(builder, hidden, intermediate, experts);
      break;
    case GraphForm::kDenseChains:
      for (const ExpertSlot& slot : experts) BuildDenseChain(builder, hidden, intermediate, slot);
      break;
  }
  return std::move(builder).Finish();
}

}  // namespace npumoe
