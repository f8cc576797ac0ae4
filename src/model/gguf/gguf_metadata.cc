#include "model/gguf/gguf_metadata.h"

#include <cmath>
#include <cstring>

#include "base/checked_math.h"

namespace npumoe {
namespace {

// Chosen: real files have about forty keys and the longest array is a vocabulary (at most
// 4,194,304 tokens, tokenizer/tokenizer_json.h) or its merges.
constexpr uint64_t kMaxKeys = 65'536;
constexpr uint64_t kMaxArrayCount = 16'777'216;
// The format's own limit.
constexpr uint64_t kMaxKeyBytes = 65'535;
// Chosen: an embedded tokenizer.json of a large vocabulary has 35 MB (base/json.h's limit).
constexpr uint64_t kMaxStringBytes = uint64_t{256} << 20;
// A key (its length, one character), a type and one byte of value.
constexpr uint64_t kMinPairBytes = 8 + 1 + 4 + 1;

Status Truncated(const std::string& name, const std::string& what) {
  return InvalidInput(name + ": ends inside " + what +
                      "; the file is truncated or damaged, "
                      "download it again");
}

template <class T>
std::optional<GgufValue> Scalar(ByteCursor& cursor, GgufType type) {
  const std::optional<T> number = cursor.Take<T>();
  if (!number) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>) return GgufValue{type, static_cast<double>(*number)};
  if constexpr (std::is_signed_v<T>) return GgufValue{type, static_cast<int64_t>(*number)};
  return GgufValue{type, static_cast<uint64_t>(*number)};
}

std::optional<GgufValue> TakeScalar(ByteCursor& cursor, GgufType type) {
  switch (type) {
    case GgufType::kU8:
      return Scalar<uint8_t>(cursor, type);
    case GgufType::kI8:
      return Scalar<int8_t>(cursor, type);
    case GgufType::kU16:
      return Scalar<uint16_t>(cursor, type);
    case GgufType::kI16:
      return Scalar<int16_t>(cursor, type);
    case GgufType::kU32:
      return Scalar<uint32_t>(cursor, type);
    case GgufType::kI32:
      return Scalar<int32_t>(cursor, type);
    case GgufType::kU64:
      return Scalar<uint64_t>(cursor, type);
    case GgufType::kI64:
      return Scalar<int64_t>(cursor, type);
    case GgufType::kF32:
      return Scalar<float>(cursor, type);
    case GgufType::kF64:
      return Scalar<double>(cursor, type);
    case GgufType::kBool: {
      const std::optional<uint8_t> byte = cursor.Take<uint8_t>();
      return byte ? std::optional(GgufValue{type, *byte != 0}) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

bool IsKnownType(uint32_t type) { return type <= static_cast<uint32_t>(GgufType::kF64); }

Result<GgufArray> TakeStrings(ByteCursor& cursor, uint64_t count, const std::string& where) {
  GgufArray array{GgufType::kString, count, {}, {}};
  array.strings.reserve(static_cast<size_t>(count));
  for (uint64_t i = 0; i < count; ++i) {
    const auto text = cursor.TakeString();
    if (!text) return Truncated(where, "string " + std::to_string(i) + " of its array");
    if (text->size() > kMaxStringBytes) {
      return InvalidInput(where + " has a string of " + std::to_string(text->size()) +
                          " bytes in its array; allowed are " + std::to_string(kMaxStringBytes));
    }
    array.strings.push_back(*text);
  }
  return array;
}

// The element type and count of an array, checked against what the file still has.
struct ArrayHeader {
  GgufType type = GgufType::kU8;
  uint64_t count = 0;
};
Result<ArrayHeader> TakeArrayHeader(ByteCursor& cursor, const std::string& where) {
  const auto type = cursor.Take<uint32_t>();
  const auto count = cursor.Take<uint64_t>();
  if (!type || !count) return Truncated(where, "the header of its array");
  if (!IsKnownType(*type)) {
    return InvalidInput(where + " is an array of type " + std::to_string(*type) +
                        ", GGUF knows 0 to 12; the file is damaged or newer than this build");
  }
  const auto element = static_cast<GgufType>(*type);
  if (element == GgufType::kArray) {
    return Unsupported(where + " is an array of arrays; no model's metadata needs one");
  }
  // A string takes at least the eight bytes of its length.
  const uint64_t least = element == GgufType::kString ? 8 : BytesOfScalar(element);
  if (*count > kMaxArrayCount || *count > cursor.remaining() / least) {
    return InvalidInput(where + " claims an array of " + std::to_string(*count) + " " +
                        Name(element) + ", the file has " + std::to_string(cursor.remaining()) +
                        " bytes left and " + std::to_string(kMaxArrayCount) +
                        " elements are allowed; it is truncated or damaged");
  }
  return ArrayHeader{element, *count};
}

Result<GgufValue> TakeArray(ByteCursor& cursor, const std::string& where) {
  NPUMOE_ASSIGN_OR_RETURN(const ArrayHeader header, TakeArrayHeader(cursor, where));
  if (header.type == GgufType::kString) {
    NPUMOE_ASSIGN_OR_RETURN(GgufArray array, TakeStrings(cursor, header.count, where));
    return GgufValue{GgufType::kArray, std::move(array)};
  }
  const auto numbers = cursor.TakeBytes(header.count * BytesOfScalar(header.type));
  if (!numbers) return Truncated(where, "its array");
  return GgufValue{GgufType::kArray, GgufArray{header.type, header.count, *numbers, {}}};
}

Result<GgufValue> TakeValue(ByteCursor& cursor, const std::string& where) {
  const auto type = cursor.Take<uint32_t>();
  if (!type) return Truncated(where, "its type");
  if (!IsKnownType(*type)) {
    return InvalidInput(where + " has type " + std::to_string(*type) +
                        ", GGUF knows 0 to 12; the file is damaged or newer than this build");
  }
  const auto kind = static_cast<GgufType>(*type);
  if (kind == GgufType::kArray) return TakeArray(cursor, where);
  if (kind != GgufType::kString) {
    const auto value = TakeScalar(cursor, kind);
    if (!value) return Truncated(where, "its value");
    return *value;
  }
  const auto text = cursor.TakeString();
  if (!text) return Truncated(where, "its string (a length beyond the file)");
  if (text->size() > kMaxStringBytes) {
    return InvalidInput(where + " is a string of " + std::to_string(text->size()) +
                        " bytes; allowed are " + std::to_string(kMaxStringBytes));
  }
  return GgufValue{kind, *text};
}

Result<std::string_view> TakeKey(ByteCursor& cursor, uint64_t index, const std::string& name) {
  const std::string where = "metadata key " + std::to_string(index);
  const auto key = cursor.TakeString();
  if (!key) return Truncated(name, where + " (a length beyond the file)");
  if (key->empty() || key->size() > kMaxKeyBytes) {
    return InvalidInput(name + ": " + where + " has " + std::to_string(key->size()) +
                        " bytes, allowed are 1 to " + std::to_string(kMaxKeyBytes));
  }
  return *key;
}

}  // namespace

const char* Name(GgufType type) {
  static constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                           "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<size_t>(type)];
}

size_t BytesOfScalar(GgufType type) {
  static constexpr size_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kBytes[static_cast<size_t>(type)];
}

std::string GgufValue::Describe() const {
  const std::string prefix = std::string(Name(type)) + " ";
  if (const auto* number = std::get_if<uint64_t>(&value)) return prefix + std::to_string(*number);
  if (const auto* number = std::get_if<int64_t>(&value)) return prefix + std::to_string(*number);
  if (const auto* number = std::get_if<double>(&value)) return prefix + std::to_string(*number);
  if (const auto* flag = std::get_if<bool>(&value)) return prefix + (*flag ? "true" : "false");
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    constexpr size_t kShown = 60;  // chosen: enough to recognise it
    return prefix + "'" + std::string(text->substr(0, kShown)) + "'";
  }
  const auto& array = std::get<GgufArray>(value);
  return "an array of " + std::to_string(array.count) + " " + Name(array.type);
}

Result<GgufMetadata> GgufMetadata::Read(ByteCursor& cursor, uint64_t count, std::string name) {
  if (count > kMaxKeys || count > cursor.remaining() / kMinPairBytes) {
    return InvalidInput(name + ": claims " + std::to_string(count) + " metadata keys, " +
                        std::to_string(kMaxKeys) + " are allowed and the file has " +
                        std::to_string(cursor.remaining()) +
                        " bytes left; it is truncated or damaged");
  }
  GgufMetadata metadata;
  metadata.name_ = std::move(name);
  for (uint64_t i = 0; i < count; ++i) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string_view key, TakeKey(cursor, i, metadata.name_));
    const std::string where = metadata.name_ + ": key '" + std::string(key) + "'";
    NPUMOE_ASSIGN_OR_RETURN(GgufValue value, TakeValue(cursor, where));
    if (!metadata.values_.emplace(key, std::move(value)).second) {
      return InvalidInput(where + " stands twice; the file is damaged");
    }
  }
  return metadata;
}

}  // namespace npumoe
