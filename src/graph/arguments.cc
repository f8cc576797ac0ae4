#include "graph/arguments.h"

#include <algorithm>

#include "graph/names.h"

namespace npumoe {
namespace {

const char* Describe(ParameterKind kind) {
  switch (kind) {
    case ParameterKind::kTensor:
    case ParameterKind::kTensors:
      return "a tensor";
    case ParameterKind::kConstantTensor:
      return "a constant tensor";
    case ParameterKind::kStoredTensor:
      return "a constant tensor that stands in the package";
    case ParameterKind::kInt:
      return "a constant int32 scalar";
    case ParameterKind::kInts:
      return "a constant int32 vector";
    case ParameterKind::kFloat:
      return "a constant floating-point scalar";
    case ParameterKind::kFlag:
      return "a constant bool scalar";
    case ParameterKind::kFlags:
      return "a constant bool vector";
    case ParameterKind::kText:
      return "a constant text";
  }
  return "";
}

template <class T>
bool HoldsConstant(const KnownValue& value, int rank) {
  return value.constant != nullptr && value.spec.shape.rank() == rank &&
         std::holds_alternative<T>(value.constant->value);
}

bool Fits(const KnownValue& value, ParameterKind kind) {
  const bool text = HoldsConstant<std::string>(value, 0);
  // Packed integers stand in packages; nothing computes with them.
  const bool tensor = !text && !IsSubByte(value.spec.dtype);
  switch (kind) {
    case ParameterKind::kTensor:
    case ParameterKind::kTensors:
      return tensor;
    case ParameterKind::kConstantTensor:
      return tensor && (value.constant != nullptr || value.materialised);
    case ParameterKind::kStoredTensor:
      return !text && value.constant != nullptr;
    case ParameterKind::kInt:
      return HoldsConstant<std::vector<int32_t>>(value, 0);
    case ParameterKind::kInts:
      return HoldsConstant<std::vector<int32_t>>(value, 1);
    case ParameterKind::kFloat:
      return HoldsConstant<std::vector<float>>(value, 0);
    case ParameterKind::kFlag:
      return HoldsConstant<std::vector<bool>>(value, 0);
    case ParameterKind::kFlags:
      return HoldsConstant<std::vector<bool>>(value, 1);
    case ParameterKind::kText:
      return text;
  }
  return false;
}

}  // namespace

Result<Arguments> Arguments::Bind(const Operation& operation,
                                  const std::vector<ParameterSchema>& schema,
                                  const ValueTable& values) {
  Arguments arguments(operation);
  for (const auto& binding : operation.inputs) {
    const std::string& name = binding.first;
    const bool known = std::any_of(schema.begin(), schema.end(),
                                   [&](const ParameterSchema& p) { return name == p.name; });
    if (!known) return arguments.NotSupported("parameter " + Quoted(name) + " is not known");
  }
  for (const ParameterSchema& parameter : schema) {
    NPUMOE_RETURN_IF_ERROR(arguments.BindParameter(parameter, values));
  }
  return arguments;
}

Status Arguments::BindParameter(const ParameterSchema& parameter, const ValueTable& values) {
  const std::string shown = std::string("parameter '") + parameter.name + "'";
  const std::vector<std::string>* names = operation_->Bound(parameter.name);
  if (names == nullptr) {
    return parameter.presence == Presence::kOptional ? OkStatus() : Error(shown + " is missing");
  }
  const bool several = parameter.kind == ParameterKind::kTensors;
  if (names->empty() || (!several && names->size() != 1)) {
    return Error(shown + " binds " + std::to_string(names->size()) + " values; " +
                 (several ? "at least one is" : "exactly one is") + " needed");
  }
  std::vector<const KnownValue*> bound;
  for (const std::string& name : *names) {
    const auto found = values.find(name);
    if (found == values.end()) {
      return Error(shown + " names " + Quoted(name) +
                   ", which nothing before this operation defines");
    }
    if (!Fits(found->second, parameter.kind)) {
      return Error(shown + " is bound to " + Quoted(name) + "; it must be " +
                   Describe(parameter.kind));
    }
    bound.push_back(&found->second);
  }
  bound_.emplace_back(parameter.name, std::move(bound));
  return OkStatus();
}

const KnownValue* Arguments::Find(std::string_view parameter) const {
  for (const auto& [name, values] : bound_) {
    if (name == parameter) return values.front();
  }
  return nullptr;
}

bool Arguments::Has(std::string_view parameter) const { return Find(parameter) != nullptr; }

const TensorSpec& Arguments::Spec(std::string_view parameter) const {
  const KnownValue* value = Find(parameter);
  NPUMOE_CHECK(value != nullptr);
  return value->spec;
}

std::vector<const TensorSpec*> Arguments::Specs(std::string_view parameter) const {
  std::vector<const TensorSpec*> specs;
  for (const auto& [name, values] : bound_) {
    if (name != parameter) continue;
    for (const KnownValue* value : values) specs.push_back(&value->spec);
  }
  return specs;
}

std::vector<int64_t> Arguments::Ints(std::string_view parameter) const {
  const KnownValue* value = Find(parameter);
  NPUMOE_CHECK(value != nullptr && value->constant != nullptr);
  const auto& ints = std::get<std::vector<int32_t>>(value->constant->value);
  return {ints.begin(), ints.end()};
}

std::vector<int64_t> Arguments::Ints(std::string_view parameter,
                                     std::vector<int64_t> fallback) const {
  return Has(parameter) ? Ints(parameter) : std::move(fallback);
}

int64_t Arguments::Int(std::string_view parameter, int64_t fallback) const {
  return Has(parameter) ? Ints(parameter).at(0) : fallback;
}

bool Arguments::Flag(std::string_view parameter, bool fallback) const {
  const KnownValue* value = Find(parameter);
  return value == nullptr ? fallback : std::get<std::vector<bool>>(value->constant->value).at(0);
}

std::vector<bool> Arguments::Flags(std::string_view parameter, size_t count) const {
  const KnownValue* value = Find(parameter);
  return value == nullptr ? std::vector<bool>(count, false)
                          : std::get<std::vector<bool>>(value->constant->value);
}

std::string Arguments::Text(std::string_view parameter, const std::string& fallback) const {
  const KnownValue* value = Find(parameter);
  return value == nullptr ? fallback : std::get<std::string>(value->constant->value);
}

Status Arguments::Error(const std::string& what) const {
  return InvalidInput("operation " + Quoted(operation_->name) + " (" + operation_->type +
                      "): " + what);
}

Status Arguments::NotSupported(const std::string& what) const {
  return Unsupported(Error(what).message());
}

}  // namespace npumoe
