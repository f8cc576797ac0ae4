// Reading JSON that may be hostile: size and depth limits, duplicate keys refused, and typed
// field access whose errors name the file, the field, what was found and what is allowed.
// The parsed value is nlohmann::json; include <nlohmann/json.hpp> in the .cc that uses it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace npumoe {

using Json = nlohmann::json;

struct JsonLimits {
  size_t max_bytes = size_t{256} << 20;
  int max_depth = 64;
};

// `name` (a path or a description) starts every message.
Result<Json> ParseJson(std::string_view text, const std::string& name, JsonLimits limits = {});
// A value as messages show it: on one line, cut after `max_bytes` (60: chosen).
std::string JsonExcerpt(const Json& value, size_t max_bytes = 60);
Result<Json> ReadJsonFile(const std::filesystem::path& path, JsonLimits limits = {});

// One JSON object of a named source. Every getter fails when the field has another type or lies
// outside [min, max]; the variants with a default also accept a missing field or null.
class JsonObject {
 public:
  // `object` must outlive this. Fails if it is not an object.
  static Result<JsonObject> From(const Json& object, std::string name);

  bool Has(const std::string& key) const;  // present and not null
  Result<int64_t> Int(const std::string& key, int64_t min, int64_t max) const;
  Result<int64_t> Int(const std::string& key, int64_t min, int64_t max, int64_t fallback) const;
  Result<double> Number(const std::string& key, double min, double max) const;
  Result<double> Number(const std::string& key, double min, double max, double fallback) const;
  Result<bool> Bool(const std::string& key) const;
  Result<bool> Bool(const std::string& key, bool fallback) const;
  Result<std::string> String(const std::string& key) const;
  Result<std::string> String(const std::string& key, std::string fallback) const;
  // A list of integers; a missing field or null gives an empty list.
  Result<std::vector<int64_t>> Ints(const std::string& key, int64_t min, int64_t max) const;
  Result<JsonObject> Object(const std::string& key) const;
  Result<const Json*> Array(const std::string& key) const;

  const Json& json() const { return *object_; }
  const std::string& name() const { return name_; }
  // "NAME: field 'KEY': ..." with what was found.
  Status FieldError(const std::string& key, const std::string& what) const;

 private:
  JsonObject(const Json* object, std::string name) : object_(object), name_(std::move(name)) {}
  const Json* object_;
  std::string name_;
};

}  // namespace npumoe
