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

enum class Layout { kOneLine, kIndented };

class Printer {
 public:
  explicit Printer(Layout layout) : layout_(layout) {}
  void Append(const OrderedJson& value);
  std::string Take() { return std::move(text_); }

 private:
  void AppendMembers(const OrderedJson& value);
  void BreakLine();

  Layout layout_;
  int depth_ = 0;
  std::string text_;
};

void Printer::BreakLine() {
  if (layout_ == Layout::kIndented) text_ += "\n" + std::string(4 * size_t(depth_), ' ');
}

// Of an object or a list; empty ones stay on the line.
void Printer::AppendMembers(const OrderedJson& value) {
  const bool is_object = value.is_object();
  text_ += is_object ? "{" : "[";
  ++depth_;
  bool is_first = true;
  for (const auto& [key, member] : value.items()) {
    if (!is_first) text_ += layout_ == Layout::kIndented ? "," : ", ";
    BreakLine();
    if (is_object) text_ += OrderedJson(key).dump() + ": ";
    Append(member);
    is_first = false;
  }
  --depth_;
  if (!is_first) BreakLine();
  text_ += is_object ? "}" : "]";
}

void Printer::Append(const OrderedJson& value) {
  if (value.is_structured()) {
    AppendMembers(value);
  } else if (value.is_number_float()) {
    text_ += PythonFloat(value.get<double>());
  } else {
    text_ += value.dump();
  }
}

std::string Print(const OrderedJson& value, Layout layout) {
  Printer printer(layout);
  printer.Append(value);
  return printer.Take();
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

std::string PythonJson(const OrderedJson& value) { return Print(value, Layout::kOneLine); }

std::string PythonJsonIndented(const OrderedJson& value) { return Print(value, Layout::kIndented); }

bool IsTrueInPython(const OrderedJson* value) {
  if (value == nullptr || value->is_null()) return false;
  if (value->is_boolean()) return value->get<bool>();
  if (value->is_number()) return value->get<double>() != 0;
  if (value->is_string()) return !value->get_ref<const std::string&>().empty();
  return !value->empty();
}

const OrderedJson* Member(const OrderedJson& value, std::string_view key) {
  if (!value.is_object()) return nullptr;
  const auto found = value.find(std::string(key));
  return found == value.end() ? nullptr : &*found;
}

Result<OrderedJson> ParseTools(const std::string& tools_json, const std::string& what) {
  if (tools_json.empty()) return OrderedJson(OrderedJson::array());
  NPUMOE_ASSIGN_OR_RETURN(OrderedJson tools, ParseOrderedJson(tools_json, what));
  if (!tools.is_array()) return InvalidInput(what + ": a list of tools is needed");
  return tools;
}

}  // namespace npumoe
