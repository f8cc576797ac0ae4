// JSON as the reference's templates print it: Python's json.dumps with ensure_ascii=False (keys
// in their order, ", " and ": ", floats as Python writes them).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/status.h"

namespace npumoe {

using OrderedJson = nlohmann::ordered_json;

// `what` ("tools") starts every message. Depth is limited; of equal keys the last wins at the
// place of the first, as in Python.
Result<OrderedJson> ParseOrderedJson(std::string_view text, const std::string& what);

std::string PythonJson(const OrderedJson& value);
// With every member and element on a line of its own, indented by four spaces a level.
std::string PythonJsonIndented(const OrderedJson& value);
// Whether Python takes the value for true: not null, false, zero or empty. Null pointer: false.
bool IsTrueInPython(const OrderedJson* value);
// The member of an object; null where there is none or `value` is no object.
const OrderedJson* Member(const OrderedJson& value, std::string_view key);

// The list of tools as text, or none of it; `what` ("field 'tools'") starts every message.
Result<OrderedJson> ParseTools(const std::string& tools_json, const std::string& what);

}  // namespace npumoe
