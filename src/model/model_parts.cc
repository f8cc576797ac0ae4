#include "model/model_parts.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "base/mapped_file.h"

namespace npumoe {
namespace {

// Chosen: real templates have some kilobytes, tokenizer_config.json of large vocabularies some
// megabytes.
constexpr size_t kMaxTemplateBytes = size_t{1} << 20;
constexpr size_t kMaxTokenizerConfigBytes = size_t{64} << 20;

bool Exists(const std::filesystem::path& path) {
  std::error_code ignored;  // a file that cannot be examined is treated as absent
  return std::filesystem::exists(path, ignored);
}

// The template among several named ones that plain chats use. Empty: there is none.
Result<std::string> DefaultTemplate(const Json& list, const std::string& name) {
  std::string found;
  for (const Json& item : list) {
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject entry, JsonObject::From(item, name));
    NPUMOE_ASSIGN_OR_RETURN(const std::string entry_name, entry.String("name"));
    NPUMOE_ASSIGN_OR_RETURN(const std::string text, entry.String("template"));
    if (entry_name == "default") found = text;
  }
  return found;
}

}  // namespace

Result<std::string> ReadTemplateSource(const std::filesystem::path& folder) {
  const std::filesystem::path jinja = folder / "chat_template.jinja";
  if (Exists(jinja)) return ReadTextFile(jinja, kMaxTemplateBytes);
  const std::filesystem::path path = folder / "tokenizer_config.json";
  if (!Exists(path)) return std::string();
  NPUMOE_ASSIGN_OR_RETURN(const Json json,
                          ReadJsonFile(path, {.max_bytes = kMaxTokenizerConfigBytes}));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, JsonObject::From(json, path.string()));
  if (!object.Has("chat_template")) return std::string();
  const Json& field = json["chat_template"];
  if (field.is_array()) return DefaultTemplate(field, path.string() + ": chat_template");
  return object.String("chat_template");
}

void TakeChatTemplate(const std::string& source, Model& model) {
  if (source.empty()) return;
  auto recognised = ChatTemplate::Recognise(source);
  if (recognised.ok()) {
    model.chat_template = std::move(recognised).value();
  } else {
    model.chat_template_problem = recognised.status().message();
  }
}

Status TakeTokenizer(std::shared_ptr<const Tokenizer> tokenizer, const std::string& source,
                     Model& model) {
  if (tokenizer->vocab_size() > model.config.vocab_size) {
    return InvalidInput(source + ": has " + std::to_string(tokenizer->vocab_size()) +
                        " tokens, the model's config has vocab_size " +
                        std::to_string(model.config.vocab_size) +
                        "; use the tokenizer that belongs to the model");
  }
  model.tokenizer_hash = tokenizer->hash();
  model.tokenizer = std::move(tokenizer);
  return OkStatus();
}

}  // namespace npumoe
