#include "model/chat/python_json.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/json.h"

namespace npumoe {
namespace {

// Limits of one request's tools or calls, chosen: far above any real list of tools.
constexpr size_t kMaxBytes = size_t{16} << 20;
constexpr int kMaxDepth = 64;

// Python's repr: the shortest digits that give the number back, plain from 1e-4 to below 1e16.
std::string PythonFloat(double value) {
  std::array<char, 40> buffer;
  const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                     std::chars_format::scientific);
  const std::string scientific(buffer.data(), written.ptr);
  const size_t e = scientific.find('e');
  const int exponent = std::atoi(scientific.c_str() + e + 1);
  if (exponent < -4 || exponent >= 16) return scientific;  // both write at least two digits
  const auto fixed =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed);
  std::string text(buffer.data(), fixed.ptr);
  if (text.find('.') == text.npos) text += ".0";
  return text;
}

void Append(const OrderedJson& value, std::string* text);

void AppendObject(const OrderedJson& object, std::string* text) {
  *text += "{";
  const char* separator = "";
  for (const auto& [key, value] : object.items()) {
    *text += separator + OrderedJson(key).dump() + ": ";
    Append(value, text);
    separator = ", ";
  }
  *text += "}";
}

void AppendArray(const OrderedJson& array, std::string* text) {
  *text += "[";
  const char* separator = "";
  for (const OrderedJson& value : array) {
    *text += separator;
    Append(value, text);
    separator = ", ";
  }
  *text += "]";
}

void Append(const OrderedJson& value, std::string* text) {
  if (value.is_object()) {
    AppendObject(value, text);
  } else if (value.is_array()) {
    AppendArray(value, text);
  } else if (value.is_number_float()) {
    *text += PythonFloat(value.get<double>());
  } else {
    *text += value.dump();
  }
}

}  // namespace

Result<OrderedJson> ParseOrderedJson(std::string_view text, const std::string& what) {
  if (text.size() > kMaxBytes) {
    return ResourceExhausted(what + ": JSON of " + std::to_string(text.size()) +
                             " bytes, allowed are " + std::to_string(kMaxBytes));
  }
  bool is_too_deep = false;
  const auto limit_depth = [&](int depth, OrderedJson::parse_event_t, OrderedJson&) {
    is_too_deep = is_too_deep || depth > kMaxDepth;
    return !is_too_deep;
  };
  OrderedJson json = OrderedJson::parse(text, limit_depth, /*allow_exceptions=*/false);
  if (is_too_deep) {
    return InvalidInput(what + ": JSON is nested deeper than the " + std::to_string(kMaxDepth) +
                        " levels allowed");
  }
  if (json.is_discarded()) return InvalidInput(what + ": is not valid JSON");
  return json;
}

std::string PythonJson(const OrderedJson& value) {
  std::string text;
  Append(value, &text);
  return text;
}

}  // namespace npumoe
