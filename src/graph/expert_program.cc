#include "graph/expert_program.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/checked_math.h"
#include "graph/builder.h"
#include "graph/shape_inference.h"

namespace npumoe {
namespace {

using Value = GraphBuilder::Value;

// gpt-oss's factor inside the sigmoid (model card's reference implementation).
constexpr float kClampedSigmoidScale = 1.702f;

// The values of one FFN by their roles; biases are absent together.
struct FfnValues {
  Value gate, up, down;
  std::optional<Value> gate_bias, up_bias, down_bias;
};

// Names of one chain's values: every expert of form C has its own, forms A and B one set.
class ValueNames {
 public:
  ValueNames() = default;
  explicit ValueNames(int expert) : suffix_("_" + std::to_string(expert)) {}
  std::string operator()(const char* name) const { return name + suffix_; }

 private:
  std::string suffix_;
};

bool IsAbsent(const WeightData& weight) { return weight.view.empty() && !weight.produce; }
enum class Biases { kNone, kAll };
Biases BiasesOf(const ExpertSlot& slot) {
  return IsAbsent(slot.gate_bias) ? Biases::kNone : Biases::kAll;
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

Status CheckBiases(const ExpertSlot& slot, const ExpertProgramShape& shape, Biases biases,
                   const std::string& expert) {
  struct Bias {
    const WeightData& weight;
    int64_t elements;
    const char* name;
  };
  for (const Bias& bias : {Bias{slot.gate_bias, shape.intermediate, ": gate bias"},
                           Bias{slot.up_bias, shape.intermediate, ": up bias"},
                           Bias{slot.down_bias, shape.hidden, ": down bias"}}) {
    if (biases == Biases::kAll) {
      NPUMOE_RETURN_IF_ERROR(CheckWeight(bias.weight, bias.elements, expert + bias.name));
    } else if (!IsAbsent(bias.weight)) {
      return InvalidInput(expert + bias.name + " is given, other biases of the program are not");
    }
  }
  return OkStatus();
}

Status CheckSlot(const ExpertSlot& slot, const ExpertProgramShape& shape, Biases biases) {
  const std::string expert = "expert " + std::to_string(slot.expert);
  if (slot.expert < 0) return InvalidInput(expert + ": an index below 0 cannot be named");
  if (slot.capacity < 1) {
    return InvalidInput(expert + ": capacity " + std::to_string(slot.capacity) +
                        "; at least one row is needed");
  }
  const int64_t elements = shape.hidden * shape.intermediate;
  NPUMOE_RETURN_IF_ERROR(CheckWeight(slot.gate, elements, expert + ": gate"));
  NPUMOE_RETURN_IF_ERROR(CheckWeight(slot.up, elements, expert + ": up"));
  NPUMOE_RETURN_IF_ERROR(CheckWeight(slot.down, elements, expert + ": down"));
  return CheckBiases(slot, shape, biases, expert);
}

Status CheckSlots(GraphForm form, const ExpertProgramShape& shape,
                  std::span<const ExpertSlot> experts) {
  const int64_t count = static_cast<int64_t>(experts.size());
  if (count == 0) return InvalidInput("an expert program needs at least one expert");
  if (!(shape.clamp_limit >= 0 && shape.clamp_limit < kF16Max)) {
    return InvalidInput("a clamp limit of " + std::to_string(shape.clamp_limit) +
                        "; allowed are 0 (none) and what fp16 holds");
  }
  NPUMOE_RETURN_IF_ERROR(
      CheckedShape(std::vector{count, shape.hidden, shape.intermediate}).status());
  std::set<int> seen;
  for (const ExpertSlot& slot : experts) {
    NPUMOE_RETURN_IF_ERROR(CheckSlot(slot, shape, BiasesOf(experts.front())));
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

// Declares the weights of `experts`, stacked: gate and up of shape `inward`, down `outward`;
// biases of the shapes given.
struct FfnShapes {
  Shape inward, outward;
  Shape inward_bias, outward_bias;
};
FfnValues DeclareWeights(GraphBuilder& builder, const ValueNames& named, const FfnShapes& shapes,
                         std::span<const ExpertSlot> experts) {
  const auto declare = [&](const char* name, const Shape& shape, WeightData ExpertSlot::*weight) {
    const WeightData data =
        experts.size() == 1 ? experts.front().*weight : Stacked(experts, weight);
    return builder.Weight(named(name), DType::kF16, shape, data);
  };
  FfnValues ffn{declare("w_gate", shapes.inward, &ExpertSlot::gate),
                declare("w_up", shapes.inward, &ExpertSlot::up),
                declare("w_down", shapes.outward, &ExpertSlot::down),
                {},
                {},
                {}};
  if (BiasesOf(experts.front()) == Biases::kNone) return ffn;
  ffn.gate_bias = declare("b_gate", shapes.inward_bias, &ExpertSlot::gate_bias);
  ffn.up_bias = declare("b_up", shapes.inward_bias, &ExpertSlot::up_bias);
  ffn.down_bias = declare("b_down", shapes.outward_bias, &ExpertSlot::down_bias);
  return ffn;
}

// With a limit, infinities of gate and up are clamped as the numbers beyond fp16 that they stand
// for; the lower bound of g is the lowest number there is.
Value Activate(GraphBuilder& builder, const ValueNames& named, const Value& gate, const Value& up,
               float clamp_limit) {
  if (clamp_limit == 0) {
    return builder.Mul(named("act"), builder.Silu(named("gate_silu"), gate), up);
  }
  const Value g = builder.Clip(named("gate_clamped"), gate, -kF16Max, clamp_limit);
  const Value u = builder.Clip(named("up_clamped"), up, -clamp_limit, clamp_limit);
  const Value scale =
      builder.Floats(named("sigmoid_scale"), DType::kF16, {}, {kClampedSigmoidScale});
  const Value one = builder.Floats(named("one"), DType::kF16, {}, {1.0f});
  const Value sigmoid =
      builder.Sigmoid(named("gate_sigmoid"), builder.Mul(named("gate_scaled"), g, scale));
  const Value gated = builder.Mul(named("gate_gated"), g, sigmoid);
  return builder.Mul(named("act"), builder.Add(named("up_plus_one"), u, one), gated);
}

// Forms A and C: gate, up and down as 1x1 convolutions with `groups` groups.
void BuildConvs(GraphBuilder& builder, const ValueNames& named, const Value& x,
                const FfnValues& ffn, int64_t groups, float clamp_limit) {
  const Value gate = builder.Conv(named("gate"), x, ffn.gate, {groups, ffn.gate_bias});
  const Value up = builder.Conv(named("up"), x, ffn.up, {groups, ffn.up_bias});
  const Value act = Activate(builder, named, gate, up, clamp_limit);
  builder.Output(builder.Conv(named("y"), act, ffn.down, {groups, ffn.down_bias}));
}

void BuildGroupedConv(GraphBuilder& builder, const ExpertProgramShape& shape,
                      std::span<const ExpertSlot> experts) {
  const auto groups = static_cast<int64_t>(experts.size());
  const int64_t inner = groups * shape.intermediate;
  const int64_t outer = groups * shape.hidden;
  const Value x = builder.Input("x", DType::kF16, Shape{1, outer, 1, experts.front().capacity});
  const FfnShapes shapes{Shape{inner, shape.hidden, 1, 1}, Shape{outer, shape.intermediate, 1, 1},
                         Shape{inner}, Shape{outer}};
  const ValueNames named;
  BuildConvs(builder, named, x, DeclareWeights(builder, named, shapes, experts), groups,
             shape.clamp_limit);
}

void BuildBatchedMatMul(GraphBuilder& builder, const ExpertProgramShape& shape,
                        std::span<const ExpertSlot> experts) {
  const auto groups = static_cast<int64_t>(experts.size());
  const Value x =
      builder.Input("x", DType::kF16, Shape{groups, experts.front().capacity, shape.hidden});
  const FfnShapes shapes{Shape{groups, shape.intermediate, shape.hidden},
                         Shape{groups, shape.hidden, shape.intermediate},
                         Shape{groups, 1, shape.intermediate}, Shape{groups, 1, shape.hidden}};
  const ValueNames named;
  const FfnValues ffn = DeclareWeights(builder, named, shapes, experts);
  const auto product = [&](const char* name, const Value& rows, const Value& weight,
                           const std::optional<Value>& bias) {
    const std::string product_name = bias ? std::string(name) + "_unbiased" : name;
    const Value value =
        builder.MatMul(product_name, rows, Operand::kAsIs, weight, Operand::kTransposed);
    return bias ? builder.Add(name, value, *bias) : value;
  };
  const Value gate = product("gate", x, ffn.gate, ffn.gate_bias);
  const Value up = product("up", x, ffn.up, ffn.up_bias);
  const Value act = Activate(builder, named, gate, up, shape.clamp_limit);
  builder.Output(product("y", act, ffn.down, ffn.down_bias));
}

void BuildDenseChain(GraphBuilder& builder, const ExpertProgramShape& shape,
                     const ExpertSlot& slot) {
  const ValueNames named(slot.expert);
  const Value x = builder.Input(named("x"), DType::kF16, Shape{1, shape.hidden, 1, slot.capacity});
  const FfnShapes shapes{Shape{shape.intermediate, shape.hidden, 1, 1},
                         Shape{shape.hidden, shape.intermediate, 1, 1}, Shape{shape.intermediate},
                         Shape{shape.hidden}};
  BuildConvs(builder, named, x, DeclareWeights(builder, named, shapes, {&slot, 1}), 1,
             shape.clamp_limit);
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

Result<Graph> BuildExpertGraph(GraphForm form, const ExpertProgramShape& shape,
                               std::span<const ExpertSlot> experts,
                               const std::string& function_name) {
  NPUMOE_RETURN_IF_ERROR(CheckSlots(form, shape, experts));
  GraphBuilder builder(function_name);
  switch (form) {
    case GraphForm::kGroupedConv:
      BuildGroupedConv(builder, shape, experts);
      break;
    case GraphForm::kBatchedMatmul:
      BuildBatchedMatMul(builder, shape, experts);
      break;
    case GraphForm::kDenseChains:
      for (const ExpertSlot& slot : experts) BuildDenseChain(builder, shape, slot);
      break;
  }
  return std::move(builder).Finish();
}

}  // namespace npumoe
