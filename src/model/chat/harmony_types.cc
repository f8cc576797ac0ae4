#include "model/chat/harmony_types.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace npumoe {
namespace {

// Types of elements longer than this become "any[]", as in the template.
constexpr size_t kLongestElementType = 50;
// Where the template writes `{{` on a line of its own, the line's indentation is printed.
const std::string kMemberBreak = "\n" + std::string(16, ' ');
const std::string kDefaultIndent(20, ' ');

size_t CountCharacters(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool IsText(const OrderedJson* value, std::string_view text) {
  return value != nullptr && value->is_string() && value->get_ref<const std::string&>() == text;
}

// As Python's str(): for what stands in lists of types and of values.
std::string PythonText(const OrderedJson& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_null()) return "None";
  return PythonJson(value);
}

std::string Joined(const OrderedJson& list, const std::string& separator) {
  std::string text;
  for (size_t i = 0; i < list.size(); ++i) {
    text += (i > 0 ? separator : std::string()) + PythonText(list[i]);
  }
  return text;
}

bool Contains(const OrderedJson* list, const std::string& name) {
  if (list == nullptr || !list->is_array()) return false;
  return std::ranges::any_of(*list, [&](const OrderedJson& item) { return IsText(&item, name); });
}

class TypeWriter {
 public:
  Result<std::string> Type(const OrderedJson& schema, const std::string& where) const;

 private:
  Result<std::string> Array(const OrderedJson& schema, const std::string& where) const;
  Result<std::string> OneOf(const OrderedJson& variants, const std::string& where) const;
  Result<std::string> Object(const OrderedJson& schema, const std::string& where) const;
};

std::string OrNull(const OrderedJson& schema) {
  return IsTrueInPython(Member(schema, "nullable")) ? " | null" : "";
}

Result<std::string> TypeWriter::Array(const OrderedJson& schema, const std::string& where) const {
  const OrderedJson* items = Member(schema, "items");
  if (!IsTrueInPython(items)) return "any[]" + OrNull(schema);
  const OrderedJson* type = Member(*items, "type");
  for (const char* simple : {"string", "number", "boolean"}) {
    if (IsText(type, simple)) return simple + std::string("[]") + OrNull(schema);
  }
  if (IsText(type, "integer")) return "number[]" + OrNull(schema);
  NPUMOE_ASSIGN_OR_RETURN(const std::string inner, Type(*items, where + ".items"));
  const bool is_any = inner == "object | object" || CountCharacters(inner) > kLongestElementType;
  return (is_any ? "any[]" : inner + "[]") + OrNull(schema);
}

Result<std::string> TypeWriter::OneOf(const OrderedJson& variants, const std::string& where) const {
  if (!variants.is_array()) return InvalidInput(where + ".oneOf: a list is needed");
  // The template means to print "any" for several objects, but its flag is lost at the end of its
  // loop (Jinja's scopes), so models have always read all variants.
  std::string text;
  for (size_t i = 0; i < variants.size(); ++i) {
    const OrderedJson& variant = variants[i];
    NPUMOE_ASSIGN_OR_RETURN(const std::string type, Type(variant, where + ".oneOf"));
    text += type;
    if (const OrderedJson* description = Member(variant, "description");
        IsTrueInPython(description)) {
      if (!description->is_string()) {
        return InvalidInput(where + ".oneOf: field 'description': a string is needed");
      }
      text += "// " + description->get<std::string>();
    }
    if (const OrderedJson* value = Member(variant, "default")) {
      text += kDefaultIndent + "// default: " + PythonJson(*value);
    }
    if (i + 1 < variants.size()) text += " | \n";
  }
  return text;
}

Result<std::string> TypeWriter::Object(const OrderedJson& schema, const std::string& where) const {
  const OrderedJson* properties = Member(schema, "properties");
  if (!IsTrueInPython(properties)) return std::string("object");
  if (!properties->is_object()) return InvalidInput(where + ".properties: an object is needed");
  const OrderedJson* required = Member(schema, "required");
  std::string text = "{\n";
  const char* separator = "";
  for (const auto& [name, property] : properties->items()) {
    text += separator + name + (Contains(required, name) ? "" : "?") + ": ";
    NPUMOE_ASSIGN_OR_RETURN(const std::string type, Type(property, where + "." + name));
    text += kMemberBreak + type;
    separator = ", ";
  }
  return text + "}";
}

Result<std::string> TypeWriter::Type(const OrderedJson& schema, const std::string& where) const {
  if (!schema.is_object()) return InvalidInput(where + ": an object (a JSON schema) is needed");
  const OrderedJson* type = Member(schema, "type");
  if (IsText(type, "array")) return Array(schema, where);
  if (type != nullptr && type->is_array() && !type->empty()) return Joined(*type, " | ");
  if (const OrderedJson* variants = Member(schema, "oneOf"); IsTrueInPython(variants)) {
    return OneOf(*variants, where);
  }
  if (IsText(type, "string")) {
    const OrderedJson* values = Member(schema, "enum");
    if (!IsTrueInPython(values)) return "string" + OrNull(schema);
    if (!values->is_array()) return InvalidInput(where + ".enum: a list is needed");
    return "\"" + Joined(*values, "\" | \"") + "\"";
  }
  if (IsText(type, "number") || IsText(type, "integer")) return std::string("number");
  if (IsText(type, "boolean")) return std::string("boolean");
  return IsText(type, "object") ? Object(schema, where) : Result<std::string>("any");
}

// ", // default: ..." behind a parameter, in the three ways of the template.
Result<std::string> DefaultOf(const OrderedJson& schema, const std::string& where) {
  const OrderedJson* value = Member(schema, "default");
  if (value == nullptr) return std::string();
  const bool has_values = IsTrueInPython(Member(schema, "enum"));
  const bool has_variants = IsTrueInPython(Member(schema, "oneOf"));
  if (!has_values && !has_variants) return ", // default: " + PythonJson(*value);
  if (!value->is_string()) {
    return InvalidInput(where + ": field 'default': a string is needed beside 'enum' and 'oneOf'");
  }
  return (has_values ? ", // default: " : "// default: ") + value->get<std::string>();
}

Result<std::string> Parameter(const std::string& name, const OrderedJson& schema, bool is_required,
                              const std::string& where) {
  std::string text;
  if (const OrderedJson* description = Member(schema, "description"); IsTrueInPython(description)) {
    if (!description->is_string()) {
      return InvalidInput(where + ": field 'description': a string is needed");
    }
    text += "// " + description->get<std::string>() + "\n";
  }
  text += name + (is_required ? "" : "?") + ": ";
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, TypeWriter().Type(schema, where));
  NPUMOE_ASSIGN_OR_RETURN(const std::string value, DefaultOf(schema, where));
  return text + type + value + ",\n";
}

Result<std::string> Text(const OrderedJson& object, const char* field, const std::string& where) {
  const OrderedJson* value = Member(object, field);
  if (value != nullptr && value->is_string()) return value->get<std::string>();
  return InvalidInput(where + ": field '" + field + "': a string is needed");
}

Result<std::string> Declaration(const OrderedJson& tool, const std::string& where) {
  const OrderedJson* function = Member(tool, "function");
  if (function == nullptr || !function->is_object()) {
    return InvalidInput(where + ": field 'function': an object is needed");
  }
  NPUMOE_ASSIGN_OR_RETURN(const std::string description, Text(*function, "description", where));
  NPUMOE_ASSIGN_OR_RETURN(const std::string name, Text(*function, "name", where));
  std::string text = "// " + description + "\ntype " + name + " = ";
  const OrderedJson* parameters = Member(*function, "parameters");
  const OrderedJson* properties =
      parameters == nullptr ? nullptr : Member(*parameters, "properties");
  if (!IsTrueInPython(properties)) return text + "() => any;\n\n";
  if (!properties->is_object()) {
    return InvalidInput(where + ": field 'properties': an object is needed");
  }
  text += "(_: {\n";
  const OrderedJson* required = Member(*parameters, "required");
  for (const auto& [key, schema] : properties->items()) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string parameter,
                            Parameter(key, schema, Contains(required, key), where + "." + key));
    text += parameter;
  }
  return text + "}) => any;\n\n";
}

}  // namespace

Result<std::string> HarmonyToolNamespace(const OrderedJson& tools) {
  std::string text = "## functions\n\nnamespace functions {\n\n";
  for (size_t i = 0; i < tools.size(); ++i) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string declaration,
                            Declaration(tools[i], "field 'tools'[" + std::to_string(i) + "]"));
    text += declaration;
  }
  return text + "} // namespace functions";
}

}  // namespace npumoe
