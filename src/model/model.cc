#include "model/model.h"

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/mapped_file.h"
#include "model/model_hash.h"
#include "model/safetensors.h"
#include "model/weight_binding.h"

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

Status CheckFolder(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!Exists(path)) {
    return NotFound(path.string() + ": does not exist; give the folder of a model");
  }
  if (!std::filesystem::is_directory(path, ignored)) {
    return InvalidInput(path.string() +
                        ": is a file; give the folder with config.json and *.safetensors");
  }
  if (!Exists(path / "config.json")) {
    return NotFound(path.string() +
                    ": has no config.json; give the folder of a model with "
                    "config.json and *.safetensors");
  }
  return OkStatus();
}

Status LoadWeights(const std::filesystem::path& path, Model& model) {
  NPUMOE_ASSIGN_OR_RETURN(const SafetensorsFolder files, SafetensorsFolder::Open(path));
  const auto file_of = [&files](const std::string& name) { return files.FileOf(name).string(); };
  NPUMOE_ASSIGN_OR_RETURN(model.weights,
                          BindWeights(model.config, files.tensors(), path.string(), file_of));
  for (const Safetensors& file : files.files()) {
    for (auto& part : file.storage()) model.weights.storage.push_back(std::move(part));
  }
  model.hash = HashOfModel(model.config, files.tensors());
  return OkStatus();
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

// The template's source: chat_template.jinja where it stands, else the field of
// tokenizer_config.json. Empty: a base model.
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

// A template that we do not know is no reason to refuse the model: raw completion and
// --chat-template still work.
Status LoadChatTemplate(const std::filesystem::path& path, Model& model) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string source, ReadTemplateSource(path));
  if (source.empty()) return OkStatus();
  auto recognised = ChatTemplate::Recognise(source);
  if (recognised.ok()) {
    model.chat_template = std::move(recognised).value();
  } else {
    model.chat_template_problem = recognised.status().message();
  }
  return OkStatus();
}

Status LoadTokenizer(const std::filesystem::path& path, Model& model) {
  const std::filesystem::path file = path / "tokenizer.json";
  if (!Exists(file)) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(model.tokenizer, Tokenizer::Load(file));
  if (model.tokenizer->vocab_size() > model.config.vocab_size) {
    return InvalidInput(file.string() + ": has " + std::to_string(model.tokenizer->vocab_size()) +
                        " tokens, the model's config.json has vocab_size " +
                        std::to_string(model.config.vocab_size) +
                        "; use the tokenizer that belongs to the model");
  }
  model.tokenizer_hash = model.tokenizer->hash();
  return LoadChatTemplate(path, model);
}

}  // namespace

double BytesPerWeight(const Model& model) {
  for (const LayerWeights& layer : model.weights.layers) {
    if (layer.experts.empty()) continue;
    return MeanBitsPerElement(layer.experts.front().gate.dtype) / 8;
  }
  return 2;
}

Result<std::shared_ptr<const Model>> LoadModel(const std::filesystem::path& path) {
  NPUMOE_RETURN_IF_ERROR(CheckFolder(path));
  const std::filesystem::path config_path = path / "config.json";
  NPUMOE_ASSIGN_OR_RETURN(const Json config_json, ReadJsonFile(config_path));
  auto model = std::make_shared<Model>();
  model->path = path;
  NPUMOE_ASSIGN_OR_RETURN(model->config, ParseModelConfig(config_json, config_path.string()));
  NPUMOE_ASSIGN_OR_RETURN(model->generation,
                          ReadGenerationConfig(path, config_json, model->config.vocab_size));
  NPUMOE_RETURN_IF_ERROR(LoadTokenizer(path, *model));
  NPUMOE_RETURN_IF_ERROR(LoadWeights(path, *model));
  return std::shared_ptr<const Model>(std::move(model));
}

}  // namespace npumoe
