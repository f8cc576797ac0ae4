#include "base/json.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/mapped_file.h"

namespace npumoe {
namespace {

// Builds the value from parser events, so that depth and duplicate keys are refused as soon as
// they are seen and the library never throws.
class JsonBuilder {
 public:
  JsonBuilder(std::string name, int max_depth) : name_(std::move(name)), max_depth_(max_depth) {}

  // The event interface of nlohmann::json::sax_parse; false ends the parse.
  bool null() { return Put(nullptr); }
  bool boolean(bool value) { return Put(value); }
  bool number_integer(Json::number_integer_t value) { return Put(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return Put(value); }
  bool number_float(Json::number_float_t value, const std::string&) { return Put(value); }
  bool string(std::string& value) { return Put(std::move(value)); }
  bool binary(Json::binary_t&) { return Fail("binary values are not JSON"); }
  bool start_object(size_t) { return Open(Json::object()); }
  bool start_array(size_t) { return Open(Json::array()); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }
  bool key(std::string& key);
  bool parse_error(size_t position, const std::string& token, const Json::exception& error);

  Result<Json> Take();

 private:
  bool Fail(const std::string& what);
  bool Put(Json value) { return Insert(std::move(value)) != nullptr; }
  Json* Insert(Json value);
  bool Open(Json value);
  bool Close();

  std::string name_;
  int max_depth_;
  Json root_;
  std::vector<Json*> open_;    // containers from the root to the current one
  Json* key_value_ = nullptr;  // where the value of the last key goes
  Status status_;
};

bool JsonBuilder::Fail(const std::string& what) {
  status_ = InvalidInput(name_ + ": " + what);
  return false;
}

Json* JsonBuilder::Insert(Json value) {
  if (open_.empty()) {
    root_ = std::move(value);
    return &root_;
  }
  if (open_.back()->is_array()) {
    open_.back()->push_back(std::move(value));
    return &open_.back()->back();
  }
  *key_value_ = std::move(value);
  return key_value_;
}

bool JsonBuilder::Open(Json value) {
  if (open_.size() >= static_cast<size_t>(max_depth_)) {
    return Fail("JSON is nested deeper than the " + std::to_string(max_depth_) + " levels allowed");
  }
  open_.push_back(Insert(std::move(value)));
  return true;
}

bool JsonBuilder::Close() {
  open_.pop_back();
  return true;
}

bool JsonBuilder::key(std::string& key) {
  const auto [entry, inserted] = open_.back()->emplace(key, nullptr);
  if (!inserted) return Fail("JSON object has the key '" + key + "' twice; keep one of them");
  key_value_ = &entry.value();
  return true;
}

bool JsonBuilder::parse_error(size_t, const std::string&, const Json::exception& error) {
  std::string_view what = error.what();
  if (const size_t end = what.find("] "); end != what.npos) what.remove_prefix(end + 2);
  return Fail("is not valid JSON: " + std::string(what));
}

Result<Json> JsonBuilder::Take() {
  if (!status_.ok()) return status_;
  return std::move(root_);
}

std::string Describe(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list of " + std::to_string(value.size());
  return JsonExcerpt(value);
}

std::string RangeText(int64_t min, int64_t max) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  if (min == kMin && max == kMax) return "an integer is needed";
  if (max == kMax) return "an integer of at least " + std::to_string(min) + " is needed";
  return "an integer from " + std::to_string(min) + " to " + std::to_string(max) + " is needed";
}

std::optional<int64_t> ToInt(const Json& value, int64_t min, int64_t max) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return std::nullopt;
  }
  const auto number = value.get<int64_t>();
  if (number < min || number > max) return std::nullopt;
  return number;
}

}  // namespace

std::string JsonExcerpt(const Json& value, size_t max_bytes) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > max_bytes) text = text.substr(0, max_bytes) + "...";
  return text;
}

Result<Json> ParseJson(std::string_view text, const std::string& name, JsonLimits limits) {
  if (text.size() > limits.max_bytes) {
    return ResourceExhausted(name + ": JSON of " + std::to_string(text.size()) +
                             " bytes, allowed are " + std::to_string(limits.max_bytes));
  }
  if (text.find_first_not_of(" \t\r\n") == text.npos) {
    return InvalidInput(name + ": is empty, JSON is needed");
  }
  JsonBuilder builder(name, limits.max_depth);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.Take();
}

Result<Json> ReadJsonFile(const std::filesystem::path& path, JsonLimits limits) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, limits.max_bytes));
  return ParseJson(text, path.string(), limits);
}

Result<JsonObject> JsonObject::From(const Json& object, std::string name) {
  if (!object.is_object()) {
    return InvalidInput(name + ": a JSON object is needed, found " + Describe(object));
  }
  return JsonObject(&object, std::move(name));
}

bool JsonObject::Has(const std::string& key) const {
  const auto entry = object_->find(key);
  return entry != object_->end() && !entry->is_null();
}

Status JsonObject::FieldError(const std::string& key, const std::string& what) const {
  const auto entry = object_->find(key);
  const std::string found =
      entry == object_->end() ? "the field is missing" : "found " + Describe(*entry);
  return InvalidInput(name_ + ": field '" + key + "': " + what + ", " + found);
}

Result<int64_t> JsonObject::Int(const std::string& key, int64_t min, int64_t max) const {
  const auto entry = object_->find(key);
  if (entry != object_->end()) {
    if (const auto value = ToInt(*entry, min, max)) return *value;
  }
  return FieldError(key, RangeText(min, max));
}

Result<int64_t> JsonObject::Int(const std::string& key, int64_t min, int64_t max,
                                int64_t fallback) const {
  if (!Has(key)) return fallback;
  return Int(key, min, max);
}

Result<double> JsonObject::Number(const std::string& key, double min, double max) const {
  const auto entry = object_->find(key);
  if (entry != object_->end() && entry->is_number()) {
    const auto value = entry->get<double>();
    if (value >= min && value <= max) return value;
  }
  return FieldError(key,
                    "a number from " + Json(min).dump() + " to " + Json(max).dump() + " is needed");
}

Result<double> JsonObject::Number(const std::string& key, double min, double max,
                                  double fallback) const {
  if (!Has(key)) return fallback;
  return Number(key, min, max);
}

Result<bool> JsonObject::Bool(const std::string& key) const {
  const auto entry = object_->find(key);
  if (entry != object_->end() && entry->is_boolean()) return entry->get<bool>();
  return FieldError(key, "true or false is needed");
}

Result<bool> JsonObject::Bool(const std::string& key, bool fallback) const {
  if (!Has(key)) return fallback;
  return Bool(key);
}

Result<std::string> JsonObject::String(const std::string& key) const {
  const auto entry = object_->find(key);
  if (entry != object_->end() && entry->is_string()) return entry->get<std::string>();
  return FieldError(key, "a string is needed");
}

Result<std::string> JsonObject::String(const std::string& key, std::string fallback) const {
  if (!Has(key)) return fallback;
  return String(key);
}

Result<std::vector<int64_t>> JsonObject::Ints(const std::string& key, int64_t min,
                                              int64_t max) const {
  std::vector<int64_t> values;
  if (!Has(key)) return values;
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, Array(key));
  values.reserve(list->size());
  for (const Json& item : *list) {
    const auto value = ToInt(item, min, max);
    if (!value) {
      return InvalidInput(name_ + ": field '" + key + "'[" + std::to_string(values.size()) +
                          "]: " + RangeText(min, max) + ", found " + Describe(item));
    }
    values.push_back(*value);
  }
  return values;
}

Result<JsonObject> JsonObject::Object(const std::string& key) const {
  const auto entry = object_->find(key);
  if (entry == object_->end() || !entry->is_object()) {
    return FieldError(key, "an object is needed");
  }
  return JsonObject(&*entry, name_ + ": " + key);
}

Result<const Json*> JsonObject::Array(const std::string& key) const {
  const auto entry = object_->find(key);
  if (entry == object_->end() || !entry->is_array()) return FieldError(key, "a list is needed");
  return &*entry;
}

}  // namespace npumoe
