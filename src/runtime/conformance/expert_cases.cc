// Expert programs in the forms A, B and C.
#include <fmt/format.h>

#include <utility>

#include "graph/weights/materialised.h"
#include "kernels/expert/expert.h"
#include "runtime/conformance/conformance_case.h"
#include "runtime/conformance/conformance_values.h"
#include "runtime/verify.h"

namespace npumoe {
namespace {

enum class Biases { kNone, kAll };

struct ExpertClass {
  const char* name;
  ExpertProgramShape shape;
  // Capacities of the experts, for each function.
  std::vector<std::vector<int64_t>> functions;
  Biases biases = Biases::kNone;
};

constexpr ExpertProgramShape kSmall{64, 96, 0};

std::vector<ExpertClass> ClassesOf(GraphForm form, int64_t quantum) {
  // Small, so that many of the values are clamped.
  constexpr ExpertProgramShape kClamped{64, 96, 0.5f};
  std::vector<ExpertClass> classes = {
      {"one expert", kSmall, {{32}}},
      {"several, equal capacities", kSmall, {{32, 32, 32}}},
      {"one quantum of rows", kSmall, {{quantum, quantum}}},
      {"many rows", kSmall, {{160, 160}}},
      {"hidden no multiple of 32", {72, 40, 0}, {{32, 32}}},
      {"biases", kSmall, {{32, 32}}, Biases::kAll},
      {"biases and clamp", kClamped, {{32, 32}}, Biases::kAll},
      {"as a shared expert", {64, 512, 0}, {{128}}},
  };
  if (form != GraphForm::kDenseChains) {
    classes.push_back({"buckets of capacities", kSmall, {{32, 32}, {64, 64}, {128, 128}}});
    return classes;
  }
  classes.push_back({"several, other capacities", kSmall, {{quantum, 96, 48}}});
  classes.push_back({"buckets of capacities", kSmall, {{32, 64}, {64, 32}, {96, 128}}});
  // 6.3 M weights: Neural Engines take programs of 5 M (ane-facts, section 2).
  classes.push_back({"large enough for engines", {1024, 2048, 0}, {{32}}});
  return classes;
}

// Ids differ from positions.
int ExpertAt(size_t slot) { return static_cast<int>(3 + 7 * slot); }

Result<std::vector<ExpertSlot>> SlotsOf(const ExpertClass& of, WeightFormat format,
                                        const std::vector<int64_t>& capacities) {
  const MatrixShape inward{of.shape.intermediate, of.shape.hidden};
  const MatrixShape outward{of.shape.hidden, of.shape.intermediate};
  std::vector<ExpertSlot> slots;
  for (const int64_t capacity : capacities) {
    ExpertSlot slot;
    slot.expert = ExpertAt(slots.size());
    slot.capacity = capacity;
    const auto seed = static_cast<uint64_t>(100 * slot.expert);
    NPUMOE_ASSIGN_OR_RETURN(slot.gate, SeededMatrix(format, inward, seed));
    NPUMOE_ASSIGN_OR_RETURN(slot.up, SeededMatrix(format, inward, seed + 1));
    NPUMOE_ASSIGN_OR_RETURN(slot.down, SeededMatrix(format, outward, seed + 2));
    if (of.biases == Biases::kAll) {
      slot.gate_bias = SeededVector(seed + 3, 0, 0.3f);
      slot.up_bias = SeededVector(seed + 4, 0, 0.3f);
      slot.down_bias = SeededVector(seed + 5, 0, 0.3f);
    }
    slots.push_back(std::move(slot));
  }
  return slots;
}

// Where the rows of one expert lie in the tensors of a program.
struct SlotPlace {
  std::string suffix;  // of the tensors' names
  int64_t first = 0;
  int64_t row_stride = 0;
  int64_t channel_stride = 0;
};
SlotPlace PlaceOf(GraphForm form, size_t slot, int64_t capacity, int64_t hidden) {
  const int64_t first = static_cast<int64_t>(slot) * capacity * hidden;
  switch (form) {
    case GraphForm::kGroupedConv:
      return {"", first, 1, capacity};
    case GraphForm::kBatchedMatmul:
      return {"", first, hidden, 1};
    case GraphForm::kDenseChains:
      return {"_" + std::to_string(ExpertAt(slot)), 0, 1, capacity};
  }
  return {};
}

// rows [capacity, hidden] into `values`, which grows to hold them.
void Place(const SlotPlace& place, ConstMatrix rows, std::vector<float>& values) {
  const auto end = static_cast<size_t>(place.first + rows.rows * rows.columns);
  if (values.size() < end) values.resize(end);
  for (int64_t r = 0; r < rows.rows; ++r) {
    for (int64_t c = 0; c < rows.columns; ++c) {
      const int64_t at = place.first + r * place.row_stride + c * place.channel_stride;
      values[static_cast<size_t>(at)] = rows.Row(r)[c];
    }
  }
}

struct ExpertFunction {
  GraphForm form;
  ExpertProgramShape shape;
  std::vector<int64_t> capacities;
  Biases biases;

  std::vector<float> RowsOf(size_t slot) const {
    return SeededHalves(capacities[slot] * shape.hidden, 9000 + slot, 1);
  }
  NamedValues Inputs() const;
  Result<NamedValues> Expected(const Graph& stored) const;
};

NamedValues ExpertFunction::Inputs() const {
  NamedValues inputs;
  for (size_t slot = 0; slot < capacities.size(); ++slot) {
    const std::vector<float> rows = RowsOf(slot);
    const SlotPlace place = PlaceOf(form, slot, capacities[slot], shape.hidden);
    Place(place, {rows.data(), capacities[slot], shape.hidden, shape.hidden},
          inputs["x" + place.suffix]);
  }
  return inputs;
}

// One expert's weights as a program holds them.
struct HeldExpert {
  ExpertProgramShape shape;
  std::vector<uint16_t> gate, up, down;
  std::vector<float> gate_bias, up_bias, down_bias;  // empty without

  SwiGluWeights Weights() const {
    const int64_t hidden = shape.hidden, inner = shape.intermediate;
    return {.gate = ViewOf(gate, {inner, hidden}),
            .up = ViewOf(up, {inner, hidden}),
            .down = ViewOf(down, {hidden, inner}),
            .gate_bias = gate_bias,
            .up_bias = up_bias,
            .down_bias = down_bias,
            .clamp_limit = shape.clamp_limit};
  }
};

// `index`: its position in weights that hold all experts of the program.
Result<HeldExpert> ReadExpert(const Graph& stored, const ExpertProgramShape& shape, Biases biases,
                              const std::string& suffix, size_t index) {
  HeldExpert expert;
  expert.shape = shape;
  const auto read = [&](const char* name, int64_t size, std::vector<uint16_t>& part) -> Status {
    NPUMOE_ASSIGN_OR_RETURN(const auto all, HalvesOf(stored, name + suffix));
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(index) * size;
    part.assign(begin, begin + size);
    return OkStatus();
  };
  const int64_t elements = shape.intermediate * shape.hidden;
  NPUMOE_RETURN_IF_ERROR(read("w_gate", elements, expert.gate));
  NPUMOE_RETURN_IF_ERROR(read("w_up", elements, expert.up));
  NPUMOE_RETURN_IF_ERROR(read("w_down", elements, expert.down));
  if (biases == Biases::kNone) return expert;
  std::vector<uint16_t> gate, up, down;
  NPUMOE_RETURN_IF_ERROR(read("b_gate", shape.intermediate, gate));
  NPUMOE_RETURN_IF_ERROR(read("b_up", shape.intermediate, up));
  NPUMOE_RETURN_IF_ERROR(read("b_down", shape.hidden, down));
  expert.gate_bias = FloatsOf(gate);
  expert.up_bias = FloatsOf(up);
  expert.down_bias = FloatsOf(down);
  return expert;
}

Result<NamedValues> ExpertFunction::Expected(const Graph& stored) const {
  NamedValues outputs;
  for (size_t slot = 0; slot < capacities.size(); ++slot) {
    const int64_t capacity = capacities[slot], hidden = shape.hidden;
    const SlotPlace place = PlaceOf(form, slot, capacity, hidden);
    NPUMOE_ASSIGN_OR_RETURN(const HeldExpert expert, ReadExpert(stored, shape, biases, place.suffix,
                                                                place.suffix.empty() ? slot : 0));
    const std::vector<float> rows = RowsOf(slot);
    std::vector<float> expected(rows.size());
    ExpertTask task;
    task.weights = expert.Weights();
    task.in = {rows.data(), capacity, hidden, hidden};
    task.out = {expected.data(), capacity, hidden, hidden};
    RunExpertReference(task);
    Place(place, task.out, outputs["y" + place.suffix]);
  }
  return outputs;
}

Result<std::vector<ConformanceFunction>> MakeFunctions(GraphForm form, const ExpertClass& of,
                                                       WeightFormat format) {
  std::vector<ConformanceFunction> functions;
  for (const std::vector<int64_t>& capacities : of.functions) {
    NPUMOE_ASSIGN_OR_RETURN(const auto slots, SlotsOf(of, format, capacities));
    const std::string name =
        functions.empty() ? "main" : fmt::format("bucket_{}", functions.size());
    NPUMOE_ASSIGN_OR_RETURN(Graph graph, BuildExpertGraph(form, of.shape, slots, name));
    const ExpertFunction function{form, of.shape, capacities, of.biases};
    functions.push_back({std::move(graph), function.Inputs(),
                         [function](const Graph& stored) { return function.Expected(stored); }});
  }
  return functions;
}

bool Takes(WeightFormat format, const ExpertProgramShape& shape) {
  const int64_t block = ScaleBlock(format);
  return block == 0 || (shape.hidden % block == 0 && shape.intermediate % block == 0);
}

}  // namespace

// Tolerance: kProgramErrorLimit, whose argument holds here, too (verify.h), and the rounding of the
// weights. The clamped activation of gpt-oss rounds seven values instead of two, all of one factor
// of the sum over the intermediate axis, which averages them as it does the others.
std::vector<ConformanceCase> ExpertCases(int64_t quantum) {
  std::vector<ConformanceCase> cases;
  for (const GraphForm form :
       {GraphForm::kGroupedConv, GraphForm::kBatchedMatmul, GraphForm::kDenseChains}) {
    for (const ExpertClass& of : ClassesOf(form, quantum)) {
      for (const WeightFormat format : kEveryFormat) {
        if (!Takes(format, of.shape)) continue;
        cases.push_back({std::string("experts ") + Name(form), of.name, format, form,
                         kProgramErrorLimit + WeightRounding(format),
                         [form, of, format] { return MakeFunctions(form, of, format); }});
      }
    }
  }
  return cases;
}

}  // namespace npumoe
