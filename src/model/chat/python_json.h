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

}  // namespace npumoe
