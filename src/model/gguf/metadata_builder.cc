#include "model/gguf/metadata_builder.h"

#include <cstring>

#include "base/check.h"

namespace npumoe {

template <class T>
void GgufMetadataBuilder::Append(T value) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));  // little-endian, as every machine that the engine runs on
  bytes_.append(raw, sizeof(T));
}

void GgufMetadataBuilder::AppendString(std::string_view text) {
  Append<uint64_t>(text.size());
  bytes_.append(text);
}

void GgufMetadataBuilder::Begin(std::string_view key, GgufType type) {
  NPUMOE_CHECK(keys_.emplace(key).second);
  AppendString(key);
  Append(static_cast<uint32_t>(type));
}

void GgufMetadataBuilder::BeginArray(std::string_view key, GgufType type, size_t count) {
  Begin(key, GgufType::kArray);
  Append(static_cast<uint32_t>(type));
  Append<uint64_t>(count);
}

void GgufMetadataBuilder::AddU32(std::string_view key, uint32_t value) {
  Begin(key, GgufType::kU32);
  Append(value);
}

void GgufMetadataBuilder::AddF32(std::string_view key, float value) {
  Begin(key, GgufType::kF32);
  Append(value);
}

void GgufMetadataBuilder::AddF64(std::string_view key, double value) {
  Begin(key, GgufType::kF64);
  Append(value);
}

void GgufMetadataBuilder::AddBool(std::string_view key, bool value) {
  Begin(key, GgufType::kBool);
  Append(static_cast<uint8_t>(value));
}

void GgufMetadataBuilder::AddString(std::string_view key, std::string_view value) {
  Begin(key, GgufType::kString);
  AppendString(value);
}

void GgufMetadataBuilder::AddStrings(std::string_view key, std::span<const std::string> values) {
  BeginArray(key, GgufType::kString, values.size());
  for (const std::string& value : values) AppendString(value);
}

void GgufMetadataBuilder::AddI32s(std::string_view key, std::span<const int32_t> values) {
  BeginArray(key, GgufType::kI32, values.size());
  for (const int32_t value : values) Append(value);
}

void GgufMetadataBuilder::AddF32s(std::string_view key, std::span<const float> values) {
  BeginArray(key, GgufType::kF32, values.size());
  for (const float value : values) Append(value);
}

void GgufMetadataBuilder::AddF64s(std::string_view key, std::span<const double> values) {
  BeginArray(key, GgufType::kF64, values.size());
  for (const double value : values) Append(value);
}

void GgufMetadataBuilder::AddBools(std::string_view key, const std::vector<bool>& values) {
  BeginArray(key, GgufType::kBool, values.size());
  for (const bool value : values) Append(static_cast<uint8_t>(value));
}

void GgufMetadataBuilder::AddCopy(std::string_view key, const GgufValue& value) {
  const auto integer = [&] {
    const auto* number = std::get_if<int64_t>(&value.value);
    return number != nullptr ? static_cast<uint64_t>(*number) : std::get<uint64_t>(value.value);
  };
  if (value.type == GgufType::kString)
    return AddString(key, std::get<std::string_view>(value.value));
  if (value.type == GgufType::kBool) return AddBool(key, std::get<bool>(value.value));
  if (value.type == GgufType::kF64) return AddF64(key, std::get<double>(value.value));
  if (value.type == GgufType::kF32) {
    return AddF32(key, static_cast<float>(std::get<double>(value.value)));
  }
  if (value.type != GgufType::kArray) {
    Begin(key, value.type);
    const uint64_t raw = integer();  // the low bytes are the number in its own width
    bytes_.append(reinterpret_cast<const char*>(&raw), BytesOfScalar(value.type));
    return;
  }
  const auto& array = std::get<GgufArray>(value.value);
  BeginArray(key, array.type, static_cast<size_t>(array.count));
  for (const std::string_view text : array.strings) AppendString(text);
  bytes_.append(reinterpret_cast<const char*>(array.numbers.data()), array.numbers.size());
}

}  // namespace npumoe
