#include "graph/mil_values.h"

#include "graph/mil_types.h"
#include "graph/mil_writer.h"
#include "graph/names.h"
#include "graph/shape_inference.h"

namespace npumoe {
namespace {

Result<Shape> ReadShape(const coreml::TensorDeclaration& tensor) {
  if (tensor.rank() != tensor.axes_size()) {
    return InvalidInput("rank " + std::to_string(tensor.rank()) + " with " +
                        std::to_string(tensor.axes_size()) + " axes");
  }
  if (tensor.axes_size() > Shape::kMaxRank) {
    return Unsupported("rank " + std::to_string(tensor.rank()) + "; at most " +
                       std::to_string(Shape::kMaxRank) + " is allowed");
  }
  std::vector<int64_t> axes;
  for (const coreml::Axis& axis : tensor.axes()) {
    if (!axis.has_fixed()) return Unsupported("an axis of no fixed length");
    const uint64_t length = axis.fixed().size();
    if (length > static_cast<uint64_t>(kMaxTensorBytes)) {
      return InvalidInput("an axis of length " + std::to_string(length));
    }
    axes.push_back(static_cast<int64_t>(length));
  }
  return CheckedShape(axes);
}

// One literal per element; `Entries` is a repeated field.
template <class T, class Entries>
Result<ConstantValue> Literals(const TensorSpec& spec, bool present, const Entries& entries) {
  if (!present || entries.size() != spec.shape.elements()) {
    return InvalidInput("constant " + Quoted(spec.name) + " is declared " + Name(spec.dtype) + " " +
                        spec.shape.ToString() + "; it holds " + std::to_string(entries.size()) +
                        " such values");
  }
  return ConstantValue(std::vector<T>(entries.begin(), entries.end()));
}

Result<ConstantValue> HalfLiterals(const TensorSpec& spec, const std::string& raw) {
  if (raw.size() != spec.bytes()) {
    return InvalidInput("constant " + Quoted(spec.name) + " " + spec.shape.ToString() + " needs " +
                        std::to_string(spec.bytes()) + " bytes; it holds " +
                        std::to_string(raw.size()));
  }
  std::vector<float> values;
  for (size_t i = 0; i < raw.size(); i += 2) {
    const auto low = static_cast<uint8_t>(raw[i]);
    const auto high = static_cast<uint8_t>(raw[i + 1]);
    values.push_back(F32FromF16(static_cast<uint16_t>(low | high << 8)));
  }
  return ConstantValue(std::move(values));
}

Result<ConstantValue> ReadLiteral(const TensorSpec& spec, const coreml::TensorLiteral& literal) {
  switch (spec.dtype) {
    case DType::kI32:
      return Literals<int32_t>(spec, literal.has_ints(), literal.ints().values());
    case DType::kF32:
      return Literals<float>(spec, literal.has_floats(), literal.floats().values());
    case DType::kBool:
      return Literals<bool>(spec, literal.has_bools(), literal.bools().values());
    case DType::kF16:
      return HalfLiterals(spec, literal.raw().values());
    default:
      return Unsupported("constant " + Quoted(spec.name) + " is an immediate " + Name(spec.dtype) +
                         "; allowed are I32, F32, F16, BOOL and text");
  }
}

Result<Constant> ReadText(const std::string& name, const coreml::Value& value) {
  const auto& strings = value.immediate().tensor().strings().values();
  if (value.type().tensor().axes_size() != 0 || value.type().tensor().rank() != 0 ||
      strings.size() != 1) {
    return Unsupported("constant " + Quoted(name) +
                       " is a list of texts; only one text is allowed");
  }
  Constant text;
  text.spec.name = name;
  text.value = strings.Get(0);
  return text;
}

Result<Constant> ReadWeight(const TensorSpec& spec, const coreml::BlobReference& blob,
                            const WeightBlobFile* weights) {
  if (blob.file_name() != kWeightFileName) {
    return Unsupported("weight " + Quoted(spec.name) + " lies in " + Quoted(blob.file_name()) +
                       "; only " + kWeightFileName + " is allowed");
  }
  if (weights == nullptr) {
    return NotFound("weight " + Quoted(spec.name) +
                    " lies in the weight file, which the package does not have");
  }
  NPUMOE_ASSIGN_OR_RETURN(const TensorView view, weights->View(blob.offset(), spec));
  return Constant{spec, WeightData{view, nullptr}};
}

}  // namespace

Result<TensorSpec> ReadDeclaration(const std::string& name,
                                   const coreml::ValueDeclaration& declaration) {
  if (!declaration.has_tensor()) {
    return Unsupported("value " + Quoted(name) +
                       " is not a tensor; states, lists, tuples and dictionaries are not allowed");
  }
  const std::optional<DType> dtype = DTypeOf(declaration.tensor().element());
  if (!dtype) {
    return Unsupported("value " + Quoted(name) + " has the element type number " +
                       std::to_string(static_cast<int>(declaration.tensor().element())) +
                       "; allowed are fp16, fp32, int32, int8, uint8, int4, uint4, uint6, "
                       "bool");
  }
  const Result<Shape> shape = ReadShape(declaration.tensor());
  if (!shape.ok()) return shape.status().WithContext("value " + Quoted(name) + " has");
  return TensorSpec{name, *dtype, *shape};
}

Result<Constant> ReadConstant(const std::string& name, const coreml::Value& value,
                              const WeightBlobFile* weights) {
  if (value.type().tensor().element() == coreml::ELEMENT_STRING) return ReadText(name, value);
  NPUMOE_ASSIGN_OR_RETURN(const TensorSpec spec, ReadDeclaration(name, value.type()));
  if (value.has_blob()) return ReadWeight(spec, value.blob(), weights);
  NPUMOE_ASSIGN_OR_RETURN(ConstantValue literal, ReadLiteral(spec, value.immediate().tensor()));
  return Constant{spec, std::move(literal)};
}

}  // namespace npumoe
