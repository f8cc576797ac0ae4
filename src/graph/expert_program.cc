#include "graph/expert_program.h"

#include <array>
#include <optional>
#include <set>

#include "base/checked_math.h"
#include "graph/builder.h"
#include "graph/shape_inference.h"
#include "graph/weights/declare_matrix.h"

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

enum class Biases { kNone, kAll };
Biases BiasesOf(const ExpertSlot& slot) {
  return IsAbsent(slot.gate_bias) ? Biases::kNone : Biases::kAll;
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
      NPUMOE_RETURN_IF_ERROR(
          CheckWeightData(bias.weight, DType::kF16, bias.elements, expert + bias.name));
    } else if (!IsAbsent(bias.weight)) {
      return InvalidInput(expert + bias.name + " is given, other biases of the program are not");
    }
  }
  return OkStatus();
}

// The matrices of a slot by their roles.
struct Role {
  const char* name;
  WeightMatrix ExpertSlot::*matrix;
  MatrixShape shape;
};
std::array<Role, 3> RolesOf(const ExpertProgramShape& shape) {
  const MatrixShape inward{shape.intermediate, shape.hidden};
  return {Role{"gate", &ExpertSlot::gate, inward}, Role{"up", &ExpertSlot::up, inward},
          Role{"down", &ExpertSlot::down, MatrixShape{shape.hidden, shape.intermediate}}};
}

Status CheckSlot(const ExpertSlot& slot, const ExpertProgramShape& shape, Biases biases) {
  const std::string expert = "expert " + std::to_string(slot.expert);
  if (slot.expert < 0) return InvalidInput(expert + ": an index below 0 cannot be named");
  if (slot.capacity < 1) {
    return InvalidInput(expert + ": capacity " + std::to_string(slot.capacity) +
                        "; at least one row is needed");
  }
  for (const Role& role : RolesOf(shape)) {
    NPUMOE_RETURN_IF_ERROR(CheckMatrix(slot.*role.matrix, role.shape, expert + ": " + role.name));
  }
  return CheckBiases(slot, shape, biases, expert);
}

// Whether `slot` can be stacked on `first`.
Status CheckTogether(GraphForm form, const ExpertProgramShape& shape, const ExpertSlot& first,
                     const ExpertSlot& slot) {
  const std::string needs = std::string("form ") + Name(form) + " needs equal ";
  if (slot.capacity != first.capacity) {
    return Unsupported(needs + "capacities; found " + std::to_string(first.capacity) + " and " +
                       std::to_string(slot.capacity) + "; use form C or raise the smaller one");
  }
  for (const Role& role : RolesOf(shape)) {
    const WeightFormat format = (first.*role.matrix).format;
    const WeightFormat own = (slot.*role.matrix).format;
    if (format != own) {
      return Unsupported(needs + "formats of all " + role.name + " matrices; found " +
                         Name(format) + " and " + Name(own) + "; use form C or one format");
    }
    NPUMOE_RETURN_IF_ERROR(CheckStackable(format, role.shape, role.name));
  }
  return OkStatus();
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
    if (form == GraphForm::kDenseChains || &slot == &experts.front()) continue;
    NPUMOE_RETURN_IF_ERROR(CheckTogether(form, shape, experts.front(), slot));
  }
  return OkStatus();
}

// The same weight of every expert.
template <class Weight>
Weight StackedOf(std::span<const ExpertSlot> experts, Weight ExpertSlot::*weight) {
  std::vector<Weight> parts;
  for (const ExpertSlot& slot : experts) parts.push_back(slot.*weight);
  return Stacked(std::span<const Weight>(parts));
}

// How weights and biases of a form are laid out.
struct FfnLayout {
  GraphBuilder::Value (*declare)(GraphBuilder&, const std::string&, const WeightMatrix&,
                                 MatrixShape, int64_t count);
  Shape inward_bias, outward_bias;
};

FfnValues DeclareWeights(GraphBuilder& builder, const ValueNames& named, const FfnLayout& layout,
                         const ExpertProgramShape& shape, std::span<const ExpertSlot> experts) {
  const auto count = static_cast<int64_t>(experts.size());
  std::array<Value, 3> matrices;
  for (size_t i = 0; i < matrices.size(); ++i) {
    const Role role = RolesOf(shape)[i];
    const std::string name = named((std::string("w_") + role.name).c_str());
    matrices[i] = layout.declare(builder, name, StackedOf(experts, role.matrix), role.shape, count);
  }
  FfnValues ffn{matrices[0], matrices[1], matrices[2], {}, {}, {}};
  if (BiasesOf(experts.front()) == Biases::kNone) return ffn;
  const auto bias = [&](const char* name, const Shape& of, WeightData ExpertSlot::*weight) {
    return builder.Weight(named(name), DType::kF16, of, StackedOf(experts, weight));
  };
  ffn.gate_bias = bias("b_gate", layout.inward_bias, &ExpertSlot::gate_bias);
  ffn.up_bias = bias("b_up", layout.inward_bias, &ExpertSlot::up_bias);
  ffn.down_bias = bias("b_down", layout.outward_bias, &ExpertSlot::down_bias);
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
  const ValueNames named;
  const FfnLayout layout{DeclareConvWeight, Shape{inner}, Shape{outer}};
  BuildConvs(builder, named, x, DeclareWeights(builder, named, layout, shape, experts), groups,
             shape.clamp_limit);
}

void BuildBatchedMatMul(GraphBuilder& builder, const ExpertProgramShape& shape,
                        std::span<const ExpertSlot> experts) {
  const auto groups = static_cast<int64_t>(experts.size());
  const Value x =
      builder.Input("x", DType::kF16, Shape{groups, experts.front().capacity, shape.hidden});
  const ValueNames named;
  const FfnLayout layout{DeclareBatchedWeight, Shape{groups, 1, shape.intermediate},
                         Shape{groups, 1, shape.hidden}};
  const FfnValues ffn = DeclareWeights(builder, named, layout, shape, experts);
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
  const FfnLayout layout{DeclareConvWeight, Shape{shape.intermediate}, Shape{shape.hidden}};
  BuildConvs(builder, named, x, DeclareWeights(builder, named, layout, shape, {&slot, 1}), 1,
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
