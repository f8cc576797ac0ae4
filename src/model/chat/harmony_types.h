// Tools as gpt-oss reads them: TypeScript declarations, made of JSON schemas exactly as the
// model's template makes them, its odd spaces and line feeds included.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/status.h"
#include "model/chat/python_json.h"

namespace npumoe {

// "## functions\n\nnamespace functions {...} // namespace functions" of a list of tools; fails for
// a tool that the template could not print.
Result<std::string> HarmonyToolNamespace(const OrderedJson& tools);

}  // namespace npumoe
