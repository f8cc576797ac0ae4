#include "graph/weights/materialised.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/packed_integers.h"

namespace npumoe {
namespace {

// The bytes of a weight, where they lie or copied to `own`.
Result<const std::byte*> BytesOfWeight(const TensorSpec& spec, const WeightData& weight,
                                       std::vector<std::byte>& own) {
  if (!weight.view.empty()) return weight.view.data;
  own.resize(spec.bytes());
  NPUMOE_RETURN_IF_ERROR(weight.produce(own).WithContext("weight '" + spec.name + "'"));
  return own.data();
}

template <class T>
T Load(const std::byte* data, size_t index) {
  T value;
  std::memcpy(&value, data + index * sizeof value, sizeof value);
  return value;
}

// An integer as it is stored, or a floating-point number.
float NumberAt(DType type, const std::byte* data, int64_t index) {
  const auto at = static_cast<size_t>(index);
  switch (type) {
    case DType::kI8:
      return static_cast<float>(Load<int8_t>(data, at));
    case DType::kU8:
      return static_cast<float>(Load<uint8_t>(data, at));
    case DType::kI4:
      return static_cast<float>(SignedNibble(ReadPacked(data, index, 4)));
    case DType::kU4:
      return static_cast<float>(ReadPacked(data, index, 4));
    case DType::kU6:
      return static_cast<float>(ReadPacked(data, index, 6));
    case DType::kF16:
      return F32FromF16(Load<uint16_t>(data, at));
    default:
      NPUMOE_CHECK(type == DType::kF32);
      return Load<float>(data, at);
  }
}

// A scale, offset or table as floats.
Result<std::vector<float>> Numbers(const Constant& constant) {
  if (const auto* floats = std::get_if<std::vector<float>>(&constant.value)) return *floats;
  const auto* weight = std::get_if<WeightData>(&constant.value);
  if (weight == nullptr) {
    return Unsupported("'" + constant.spec.name + "' is no tensor of the weight file");
  }
  std::vector<std::byte> own;
  NPUMOE_ASSIGN_OR_RETURN(const std::byte* data, BytesOfWeight(constant.spec, *weight, own));
  std::vector<float> numbers(static_cast<size_t>(constant.spec.shape.elements()));
  for (size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = NumberAt(constant.spec.dtype, data, static_cast<int64_t>(i));
  }
  return numbers;
}

const Constant& Bound(const Graph& graph, const Operation& operation, const char* parameter) {
  const std::vector<std::string>* names = operation.Bound(parameter);
  NPUMOE_CHECK(names != nullptr && names->size() == 1);
  return graph.constants.at(names->front());
}

template <DType type>
void Scale(const std::byte* integers, int64_t begin, float offset, float factor,
           std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = (NumberAt(type, integers, begin + static_cast<int64_t>(i)) - offset) * factor;
  }
}

template <DType type>
void LookUp(const std::byte* indices, int64_t begin, const float* table, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = table[static_cast<size_t>(NumberAt(type, indices, begin + static_cast<int64_t>(i)))];
  }
}

}  // namespace

Result<MaterialisedWeight> MaterialisedWeight::Of(const Graph& graph, const Operation& operation) {
  MaterialisedWeight weight;
  NPUMOE_RETURN_IF_ERROR(weight.ReadParts(graph, operation));
  return weight;
}

Status MaterialisedWeight::ReadParts(const Graph& graph, const Operation& operation) {
  const bool table = operation.type == "constexpr_lut_to_dense";
  const Constant& integers = Bound(graph, operation, table ? "indices" : "data");
  const Constant& factors = Bound(graph, operation, table ? "lut" : "scale");
  const auto* stored = std::get_if<WeightData>(&integers.value);
  if (stored == nullptr) {
    return Unsupported("'" + integers.spec.name + "' is no tensor of the weight file");
  }
  type_ = integers.spec.dtype;
  elements_ = integers.spec.shape.elements();
  NPUMOE_ASSIGN_OR_RETURN(integers_, BytesOfWeight(integers.spec, *stored, own_integers_));
  NPUMOE_ASSIGN_OR_RETURN(factors_, Numbers(factors));
  if (operation.Bound("offset") != nullptr) {
    NPUMOE_ASSIGN_OR_RETURN(offsets_, Numbers(Bound(graph, operation, "offset")));
  }
  std::span<const int64_t> parts = factors.spec.shape.axes();
  if (table) {
    entries_ = parts[parts.size() - 2];
    parts = parts.first(parts.size() - 2);
  }
  FindRuns(integers.spec.shape, {parts.begin(), parts.end()});
  return OkStatus();
}

// Axes from the last: those that are not divided belong to the run as a whole, the first divided
// one contributes a block, those before it count runs.
void MaterialisedWeight::FindRuns(const Shape& whole, std::vector<int64_t> parts) {
  int axis = whole.rank() - 1;
  for (; axis >= 0 && parts[static_cast<size_t>(axis)] == 1; --axis) run_ *= whole[axis];
  if (axis < 0) return;
  const int64_t divided = parts[static_cast<size_t>(axis)];
  run_ *= whole[axis] / divided;
  int64_t stride = 1;
  axes_.push_back({divided, 1, stride});
  for (--axis, stride = divided; axis >= 0; --axis) {
    const int64_t own = parts[static_cast<size_t>(axis)];
    axes_.push_back({whole[axis], whole[axis] / own, stride});
    stride *= own;
  }
}

int64_t MaterialisedWeight::PartOfRun(int64_t run) const {
  int64_t part = 0;
  for (const RunAxis& axis : axes_) {
    part += run % axis.extent / axis.block * axis.stride;
    run /= axis.extent;
  }
  return part;
}

void MaterialisedWeight::ReadRun(int64_t begin, int64_t part, std::span<float> out) const {
  const auto index = static_cast<size_t>(part);
  if (entries_ > 0) {
    const float* table = factors_.data() + part * entries_;
    if (type_ == DType::kU4) return LookUp<DType::kU4>(integers_, begin, table, out);
    if (type_ == DType::kU6) return LookUp<DType::kU6>(integers_, begin, table, out);
    return LookUp<DType::kU8>(integers_, begin, table, out);
  }
  const float factor = factors_[index];
  const float offset = offsets_.empty() ? 0 : offsets_[index];
  if (type_ == DType::kI8) return Scale<DType::kI8>(integers_, begin, offset, factor, out);
  if (type_ == DType::kI4) return Scale<DType::kI4>(integers_, begin, offset, factor, out);
  if (type_ == DType::kU4) return Scale<DType::kU4>(integers_, begin, offset, factor, out);
  return Scale<DType::kU8>(integers_, begin, offset, factor, out);
}

void MaterialisedWeight::Read(int64_t begin, std::span<float> out) const {
  while (!out.empty()) {
    const int64_t run = begin / run_;
    const int64_t left = (run + 1) * run_ - begin;
    const size_t count = std::min(out.size(), static_cast<size_t>(left));
    ReadRun(begin, PartOfRun(run), out.first(count));
    begin += static_cast<int64_t>(count);
    out = out.subspan(count);
  }
}

Result<std::vector<uint16_t>> HalvesOf(const Graph& graph, const std::string& value) {
  if (const auto found = graph.constants.find(value); found != graph.constants.end()) {
    const auto* weight = std::get_if<WeightData>(&found->second.value);
    if (weight != nullptr && found->second.spec.dtype == DType::kF16) {
      std::vector<std::byte> own;
      NPUMOE_ASSIGN_OR_RETURN(const std::byte* data,
                              BytesOfWeight(found->second.spec, *weight, own));
      std::vector<uint16_t> halves(static_cast<size_t>(found->second.spec.shape.elements()));
      std::memcpy(halves.data(), data, found->second.spec.bytes());
      return halves;
    }
  }
  for (const Operation& operation : graph.operations) {
    if (!IsConstexpr(operation) || operation.outputs.front().name != value) continue;
    NPUMOE_ASSIGN_OR_RETURN(const MaterialisedWeight weight,
                            MaterialisedWeight::Of(graph, operation));
    std::vector<float> values(static_cast<size_t>(weight.elements()));
    weight.Read(0, values);
    std::vector<uint16_t> halves(values.size());
    std::transform(values.begin(), values.end(), halves.begin(), F16FromF32);
    return halves;
  }
  return NotFound("'" + value + "' is neither an fp16 weight nor made by a constexpr operation");
}

int64_t StoredBytes(const Graph& graph, const std::string& value) {
  if (const auto constant = graph.constants.find(value); constant != graph.constants.end()) {
    return static_cast<int64_t>(constant->second.spec.bytes());
  }
  int64_t bytes = 0;
  for (const Operation& operation : graph.operations) {
    if (!IsConstexpr(operation) || operation.outputs.front().name != value) continue;
    for (const auto& [parameter, names] : operation.inputs) {
      for (const std::string& name : names) bytes += StoredBytes(graph, name);
    }
  }
  return bytes;
}

}  // namespace npumoe
