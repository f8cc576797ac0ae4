// Steps of tokenizer.json's pipelines: what normalizer, pre-tokenizer, decoder and post-processor
// have in common.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"
#include "model/tokenizer/tokenizer_spec.h"

namespace npumoe {

// "NAME: field 'FIELD': FOUND is not supported, only SUPPORTED".
Status RefuseField(const JsonObject& object, const std::string& field, const std::string& found,
                   const std::string& supported);

Result<std::string> StepType(const JsonObject& step);

// Calls `read` with every step of a "Sequence", or with the one step that stands alone. Fails for
// more steps than any pipeline needs.
Status ForEachStep(const JsonObject& object, const std::string& list_field,
                   const std::function<Status(const JsonObject&)>& read);

// A text that the step puts into others; its length is limited.
Result<std::string> InsertedText(const JsonObject& step, const std::string& field);
// A text of exactly one character.
Result<std::string> OneCharacter(const JsonObject& step, const std::string& field);

// {"type": "Replace", "pattern": {"String": " "}, "content": "_"}, a normalizer and a decoder.
Result<ReplaceNormalizer> ReadReplaceStep(const JsonObject& step);

}  // namespace npumoe
