#include <cmath>
#include <cstring>
#include <limits>

#include "model/gguf/gguf_metadata.h"

namespace npumoe {
namespace {

// An integer of any width and sign; none: another kind, or beyond int64.
std::optional<int64_t> AsInt(const GgufValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value.value)) return *number;
  const auto* number = std::get_if<uint64_t>(&value.value);
  if (number == nullptr || *number > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return std::nullopt;
  }
  return static_cast<int64_t>(*number);
}

std::optional<double> AsNumber(const GgufValue& value) {
  if (const auto* number = std::get_if<double>(&value.value)) return *number;
  const auto integer = AsInt(value);
  return integer ? std::optional(static_cast<double>(*integer)) : std::nullopt;
}

template <class T, class Out>
Out Load(const GgufArray& array, size_t index) {
  T value;
  std::memcpy(&value, array.numbers.data() + index * sizeof(T), sizeof(T));
  return static_cast<Out>(value);
}

std::optional<int64_t> IntAt(const GgufArray& array, size_t index) {
  switch (array.type) {
    case GgufType::kU8:
      return Load<uint8_t, int64_t>(array, index);
    case GgufType::kI8:
      return Load<int8_t, int64_t>(array, index);
    case GgufType::kU16:
      return Load<uint16_t, int64_t>(array, index);
    case GgufType::kI16:
      return Load<int16_t, int64_t>(array, index);
    case GgufType::kU32:
      return Load<uint32_t, int64_t>(array, index);
    case GgufType::kI32:
      return Load<int32_t, int64_t>(array, index);
    case GgufType::kI64:
      return Load<int64_t, int64_t>(array, index);
    case GgufType::kU64: {
      const auto value = Load<uint64_t, uint64_t>(array, index);
      if (value > uint64_t{std::numeric_limits<int64_t>::max()}) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> NumberAt(const GgufArray& array, size_t index) {
  if (array.type == GgufType::kF32) return Load<float, double>(array, index);
  if (array.type == GgufType::kF64) return Load<double, double>(array, index);
  const auto integer = IntAt(array, index);
  return integer ? std::optional(static_cast<double>(*integer)) : std::nullopt;
}

}  // namespace

const GgufValue* GgufMetadata::Find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

Status GgufMetadata::KeyError(std::string_view key, const std::string& what) const {
  const GgufValue* value = Find(key);
  const std::string where = name_ + ": key '" + std::string(key) + "' ";
  if (value == nullptr) return NotFound(where + "is missing; " + what);
  return InvalidInput(where + "is " + value->Describe() + "; " + what);
}

Result<int64_t> GgufMetadata::Int(std::string_view key, int64_t min, int64_t max) const {
  const GgufValue* value = Find(key);
  const auto number = value == nullptr ? std::nullopt : AsInt(*value);
  if (number && *number >= min && *number <= max) return *number;
  return KeyError(
      key, "an integer from " + std::to_string(min) + " to " + std::to_string(max) + " is needed");
}

Result<int64_t> GgufMetadata::Int(std::string_view key, int64_t min, int64_t max,
                                  int64_t fallback) const {
  if (!Has(key)) return fallback;
  return Int(key, min, max);
}

Result<double> GgufMetadata::Number(std::string_view key, double min, double max) const {
  const GgufValue* value = Find(key);
  const auto number = value == nullptr ? std::nullopt : AsNumber(*value);
  // Written so that NaN fails.
  if (number && *number >= min && *number <= max) return *number;
  return KeyError(
      key, "a number from " + std::to_string(min) + " to " + std::to_string(max) + " is needed");
}

Result<double> GgufMetadata::Number(std::string_view key, double min, double max,
                                    double fallback) const {
  if (!Has(key)) return fallback;
  return Number(key, min, max);
}

Result<bool> GgufMetadata::Bool(std::string_view key, bool fallback) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return fallback;
  if (const auto* flag = std::get_if<bool>(&value->value)) return *flag;
  return KeyError(key, "a bool is needed");
}

Result<std::string> GgufMetadata::String(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value != nullptr) {
    if (const auto* text = std::get_if<std::string_view>(&value->value)) return std::string(*text);
  }
  return KeyError(key, "a string is needed");
}

Result<std::string> GgufMetadata::String(std::string_view key, std::string fallback) const {
  if (!Has(key)) return fallback;
  return String(key);
}

Result<std::vector<int64_t>> GgufMetadata::Ints(std::string_view key, int64_t min,
                                                int64_t max) const {
  std::vector<int64_t> all;
  const GgufValue* value = Find(key);
  if (value == nullptr) return all;
  const auto* array = std::get_if<GgufArray>(&value->value);
  const std::string needed = "an array of integers from " + std::to_string(min) + " to " +
                             std::to_string(max) + " is needed";
  if (array == nullptr) return KeyError(key, needed);
  for (size_t i = 0; i < array->count; ++i) {
    const auto number = IntAt(*array, i);
    if (!number || *number < min || *number > max) {
      return KeyError(key, needed + ", element " + std::to_string(i) + " is none");
    }
    all.push_back(*number);
  }
  return all;
}

Result<std::vector<double>> GgufMetadata::Numbers(std::string_view key) const {
  std::vector<double> all;
  const GgufValue* value = Find(key);
  if (value == nullptr) return all;
  const auto* array = std::get_if<GgufArray>(&value->value);
  if (array == nullptr) return KeyError(key, "an array of numbers is needed");
  for (size_t i = 0; i < array->count; ++i) {
    const auto number = NumberAt(*array, i);
    if (!number || !std::isfinite(*number)) {
      return KeyError(
          key, "an array of finite numbers is needed, element " + std::to_string(i) + " is none");
    }
    all.push_back(*number);
  }
  return all;
}

Result<std::vector<bool>> GgufMetadata::Bools(std::string_view key) const {
  std::vector<bool> all;
  const GgufValue* value = Find(key);
  if (value == nullptr) return all;
  const auto* array = std::get_if<GgufArray>(&value->value);
  if (array == nullptr || array->type != GgufType::kBool) {
    return KeyError(key, "an array of bools is needed");
  }
  for (const std::byte flag : array->numbers) all.push_back(flag != std::byte{0});
  return all;
}

Result<std::vector<std::string_view>> GgufMetadata::Strings(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::vector<std::string_view>();
  const auto* array = std::get_if<GgufArray>(&value->value);
  if (array == nullptr || array->type != GgufType::kString) {
    return KeyError(key, "an array of strings is needed");
  }
  return array->strings;
}

}  // namespace npumoe
