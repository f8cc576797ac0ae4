// What LoadModel does with tokenizers and chat templates, whichever kind of file they come from.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/status.h"
#include "model/model.h"

namespace npumoe {

// The template's source: chat_template.jinja where it stands, else the field of
// tokenizer_config.json. Empty: a base model.
Result<std::string> ReadTemplateSource(const std::filesystem::path& folder);
// A template that we do not know is no reason to refuse the model: raw completion and
// --chat-template still work.
void TakeChatTemplate(const std::string& source, Model& model);
// `source` names the file. Fails for a tokenizer with more tokens than the model.
Status TakeTokenizer(std::shared_ptr<const Tokenizer> tokenizer, const std::string& source,
                     Model& model);

}  // namespace npumoe
