#include "model/model.h"

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "model/gguf/gguf_model.h"
#include "model/model_hash.h"
#include "model/model_parts.h"
#include "model/safetensors.h"
#include "model/weight_binding.h"

namespace npumoe {
namespace {

bool Exists(const std::filesystem::path& path) {
  std::error_code ignored;  // a file that cannot be examined is treated as absent
  return std::filesystem::exists(path, ignored);
}

Status CheckFolder(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!Exists(path)) {
    return NotFound(path.string() + ": does not exist; give the folder of a model or a GGUF file");
  }
  if (!std::filesystem::is_directory(path, ignored)) {
    return InvalidInput(path.string() +
                        ": is a file; give a .gguf file, or the folder with config.json and "
                        "*.safetensors");
  }
  if (!Exists(path / "config.json")) {
    return NotFound(path.string() +
                    ": has no config.json; give the folder of a model with "
                    "config.json and *.safetensors, or with one GGUF");
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

Status LoadTokenizer(const std::filesystem::path& path, Model& model) {
  const std::filesystem::path file = path / "tokenizer.json";
  if (!Exists(file)) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::Load(file));
  NPUMOE_RETURN_IF_ERROR(TakeTokenizer(std::move(tokenizer), file.string(), model));
  NPUMOE_ASSIGN_OR_RETURN(const std::string source, ReadTemplateSource(path));
  TakeChatTemplate(source, model);
  return OkStatus();
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
  NPUMOE_ASSIGN_OR_RETURN(const std::filesystem::path gguf, GgufOf(path));
  if (!gguf.empty()) return LoadGgufModel(gguf);
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
