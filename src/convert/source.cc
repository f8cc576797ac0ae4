#include "convert/source.h"

#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/json.h"
#include "base/mapped_file.h"
#include "model/gguf/gguf_config.h"
#include "model/gguf/gguf_file.h"
#include "model/gguf/gguf_model.h"
#include "model/gguf/gguf_weights.h"
#include "model/model_parts.h"
#include "model/safetensors.h"
#include "model/tokenizer/tokenizer_files.h"

namespace npumoe {
namespace {

constexpr size_t kMaxTokenizerBytes = size_t{256} << 20;  // base/json.h's limit
constexpr size_t kMaxSmallJsonBytes = size_t{64} << 20;   // as model/model_parts.cc

// The text of a file that may be absent.
Result<std::string> ReadOptional(const std::filesystem::path& path, size_t max_bytes) {
  std::error_code ignored;  // a file that cannot be examined is opened below and says why
  if (!std::filesystem::exists(path, ignored)) return std::string();
  return ReadTextFile(path, max_bytes);
}

struct FolderStorage {
  SafetensorsFolder files;
  std::unordered_set<std::string> used;
};

void ReadFolderTensors(std::shared_ptr<FolderStorage> storage, ConvertSource& source) {
  const ModelFamily* family = FindFamily(source.config.family);
  NPUMOE_CHECK(family != nullptr);
  const auto file_of = [storage](const std::string& name) {
    return storage->files.FileOf(name).string();
  };
  const ModelConfig config = source.config;
  const std::string path = source.path.string();
  source.find = [=](ExpectedTensor expected) -> Result<std::optional<FoundTensor>> {
    expected.name = NameOf(*family, expected.role, expected.layer, expected.expert);
    expected.shape = ShapeOf(expected.role, config);
    NPUMOE_ASSIGN_OR_RETURN(
        std::optional<FoundTensor> found,
        FindWeight(*family, config, expected, storage->files.tensors(), path, file_of));
    if (found) storage->used.insert(found->sources.begin(), found->sources.end());
    return found;
  };
  source.refuse_left_over = [=] {
    return RefuseLeftOver(*family, storage->files.tensors(), storage->used, file_of);
  };
  source.storage = std::move(storage);
}

// generation_config.json, or the end tokens that config.json knows.
Result<std::string> ReadGenerationText(const std::filesystem::path& folder, const Json& config_json,
                                       int vocab_size) {
  NPUMOE_ASSIGN_OR_RETURN(const GenerationConfig generation,
                          ReadGenerationConfig(folder, config_json, vocab_size));
  NPUMOE_ASSIGN_OR_RETURN(const std::string text,
                          ReadOptional(folder / "generation_config.json", kMaxSmallJsonBytes));
  Json json = Json::object();
  if (!text.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(json, ParseJson(text, (folder / "generation_config.json").string()));
  }
  if (generation.end_tokens.empty()) return text;
  json["eos_token_id"] = generation.end_tokens;
  return json.dump(2) + "\n";
}

Result<ConvertSource> OpenFolder(const std::filesystem::path& path) {
  ConvertSource source;
  source.path = path;
  const std::filesystem::path config_path = path / "config.json";
  NPUMOE_ASSIGN_OR_RETURN(const Json config_json, ReadJsonFile(config_path));
  NPUMOE_ASSIGN_OR_RETURN(source.config, ParseModelConfig(config_json, config_path.string()));
  for (const auto& [field, value] : config_json.items()) source.config_fields.push_back(field);
  NPUMOE_ASSIGN_OR_RETURN(source.generation_json,
                          ReadGenerationText(path, config_json, source.config.vocab_size));
  NPUMOE_ASSIGN_OR_RETURN(source.tokenizer_json,
                          ReadOptional(path / "tokenizer.json", kMaxTokenizerBytes));
  NPUMOE_ASSIGN_OR_RETURN(source.tokenizer_config_json,
                          ReadOptional(path / "tokenizer_config.json", kMaxSmallJsonBytes));
  if (!source.tokenizer_json.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(TokenizerFiles tokenizer, ReadTokenizerFiles(path / "tokenizer.json"));
    source.tokenizer = std::move(tokenizer.spec);
    NPUMOE_ASSIGN_OR_RETURN(source.chat_template, ReadTemplateSource(path));
  }
  NPUMOE_ASSIGN_OR_RETURN(SafetensorsFolder files, SafetensorsFolder::Open(path));
  ReadFolderTensors(std::make_shared<FolderStorage>(FolderStorage{std::move(files), {}}), source);
  return source;
}

struct GgufStorage {
  GgufModelFile file;
  ModelConfig config = {};
  std::optional<GgufWeightFinder> finder = {};
};

void ReadGgufTensors(std::shared_ptr<GgufStorage> storage, ConvertSource& source) {
  storage->config = source.config;
  storage->finder.emplace(
      storage->config, storage->file.tensors(),
      [file = &storage->file](const std::string& name) { return file->FileOf(name); });
  const GgufArchitecture* architecture = GgufArchitectureOfFamily(source.config.family);
  source.find = [storage,
                 architecture](ExpectedTensor expected) -> Result<std::optional<FoundTensor>> {
    expected.name = GgufTensorName(*architecture, expected.role, expected.layer);
    expected.shape = ShapeOf(expected.role, storage->config);
    NPUMOE_ASSIGN_OR_RETURN(const auto part, storage->finder->Find(expected));
    if (!part) return std::optional<FoundTensor>();
    return std::optional(FoundTensor{part->view, part->storage, {}});
  };
  source.refuse_left_over = [storage] { return storage->finder->RefuseLeftOver(); };
  source.storage = std::move(storage);
}

Result<ConvertSource> OpenGguf(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(GgufModelFile file, GgufModelFile::Open(path));
  auto storage = std::make_shared<GgufStorage>(GgufStorage{std::move(file)});
  const GgufMetadata& metadata = storage->file.metadata();
  ConvertSource source;
  source.path = path;
  source.metadata = &metadata;
  NPUMOE_ASSIGN_OR_RETURN(source.config, ConfigFromGguf(metadata, storage->file.tensors()));
  NPUMOE_ASSIGN_OR_RETURN(source.tokenizer_json, metadata.String(kGgufTokenizerJsonKey, ""));
  NPUMOE_ASSIGN_OR_RETURN(source.chat_template, metadata.String(kGgufChatTemplateKey, ""));
  NPUMOE_ASSIGN_OR_RETURN(const GenerationConfig generation,
                          ReadGgufGeneration(metadata, source.config.vocab_size));
  NPUMOE_ASSIGN_OR_RETURN(source.generation_json, metadata.String(kGgufGenerationKey, ""));
  if (source.generation_json.empty() && !generation.end_tokens.empty()) {
    source.generation_json = Json{{"eos_token_id", generation.end_tokens}}.dump(2) + "\n";
  }
  ReadGgufTensors(std::move(storage), source);
  return source;
}

}  // namespace

Result<ConvertSource> OpenConvertSource(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(const std::filesystem::path gguf, GgufOf(path));
  if (!gguf.empty()) return OpenGguf(gguf);
  std::error_code ignored;  // a path that cannot be examined fails below, with its reason
  if (!std::filesystem::exists(path, ignored)) {
    return NotFound(path.string() + ": does not exist; give the folder of a model or a GGUF file");
  }
  return OpenFolder(path);
}

}  // namespace npumoe
