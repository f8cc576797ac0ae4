#include "model/tokenizer/json_steps.h"

#include <nlohmann/json.hpp>

#include "model/tokenizer/utf8.h"

namespace npumoe {
namespace {

// Longest text that one step may look for or put into another, chosen: real ones are one character.
constexpr size_t kMaxStepTextBytes = 64;

// Most steps of one pipeline, chosen: those of published tokenizers have up to seven.
constexpr size_t kMaxSteps = 32;

Status CheckStepText(const JsonObject& step, const std::string& field, const std::string& text) {
  if (text.size() <= kMaxStepTextBytes) return OkStatus();
  return step.FieldError(field,
                         "at most " + std::to_string(kMaxStepTextBytes) + " bytes are allowed");
}

}  // namespace

Status RefuseField(const JsonObject& object, const std::string& field, const std::string& found,
                   const std::string& supported) {
  return Unsupported(object.name() + ": field '" + field + "': " + found +
                     " is not supported, only " + supported);
}

Result<std::string> StepType(const JsonObject& step) { return step.String("type"); }

Status ForEachStep(const JsonObject& object, const std::string& list_field,
                   const std::function<Status(const JsonObject&)>& read) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string type, StepType(object));
  if (type != "Sequence") return read(object);
  NPUMOE_ASSIGN_OR_RETURN(const Json* steps, object.Array(list_field));
  if (steps->size() > kMaxSteps) {
    return object.FieldError(list_field, "it has " + std::to_string(steps->size()) +
                                             " steps, allowed are " + std::to_string(kMaxSteps));
  }
  for (const Json& json : *steps) {
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject step, JsonObject::From(json, object.name()));
    NPUMOE_RETURN_IF_ERROR(read(step));
  }
  return OkStatus();
}

Result<std::string> InsertedText(const JsonObject& step, const std::string& field) {
  NPUMOE_ASSIGN_OR_RETURN(std::string text, step.String(field));
  NPUMOE_RETURN_IF_ERROR(CheckStepText(step, field, text));
  return text;
}

Result<std::string> OneCharacter(const JsonObject& step, const std::string& field) {
  NPUMOE_ASSIGN_OR_RETURN(std::string text, InsertedText(step, field));
  const bool is_one = !text.empty() && ReadUtf8(text, 0).bytes == text.size();
  if (!is_one) return step.FieldError(field, "one character is needed");
  return text;
}

Result<ReplaceNormalizer> ReadReplaceStep(const JsonObject& step) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject pattern, step.Object("pattern"));
  if (!pattern.Has("String")) {
    return RefuseField(step, "pattern", "a pattern that is no 'String'", "literal ones");
  }
  ReplaceNormalizer replace;
  NPUMOE_ASSIGN_OR_RETURN(replace.pattern, pattern.String("String"));
  if (replace.pattern.empty()) {
    return pattern.FieldError("String", "at least one character is needed");
  }
  NPUMOE_RETURN_IF_ERROR(CheckStepText(pattern, "String", replace.pattern));
  NPUMOE_ASSIGN_OR_RETURN(replace.content, InsertedText(step, "content"));
  return replace;
}

}  // namespace npumoe
