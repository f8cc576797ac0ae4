#include "model/tokenizer/tokenizer_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/hash.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "model/tokenizer/tokenizer_json.h"

namespace npumoe {
namespace {

// Largest tokenizer.json, chosen: ten times the largest published ones (about 33 MB); and
// tokenizer_config.json: large vocabularies of added tokens have some megabytes.
constexpr size_t kMaxTokenizerBytes = size_t{320} << 20;
constexpr size_t kMaxConfigBytes = size_t{64} << 20;

// Those whose post-processor transformers builds from add_bos_token and add_eos_token.
constexpr std::string_view kLlamaClasses[] = {"LlamaTokenizer", "LlamaTokenizerFast",
                                              "CodeLlamaTokenizer", "CodeLlamaTokenizerFast"};

// A token as text, or as {"content": text}; empty where it is null or absent.
Result<std::string> ReadToken(const JsonObject& config, const std::string& field) {
  if (!config.Has(field)) return std::string();
  if (config.json()[field].is_string()) return config.String(field);
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject token, config.Object(field));
  return token.String("content");
}

std::optional<int32_t> IdOf(const TokenizerSpec& spec, const std::string& token) {
  for (const AddedToken& added : spec.added_tokens) {
    if (added.content == token) return added.id;
  }
  for (const auto& [spelling, id] : spec.bpe.vocabulary) {
    if (spelling == token) return id;
  }
  return std::nullopt;
}

struct TokenChoice {
  const char* field;  // whether it is added
  bool is_default;    // where the field is absent
  std::string token;
};

Status ChooseToken(const JsonObject& config, const TokenChoice& choice, const TokenizerSpec& spec,
                   std::vector<int32_t>* ids) {
  NPUMOE_ASSIGN_OR_RETURN(const bool is_added, config.Bool(choice.field, choice.is_default));
  ids->clear();
  if (!is_added || choice.token.empty()) return OkStatus();
  const std::optional<int32_t> id = IdOf(spec, choice.token);
  if (!id) {
    return config.FieldError(choice.field,
                             "it asks for '" + choice.token + "', which is not a token");
  }
  ids->push_back(*id);
  return OkStatus();
}

// Nothing where the folder has no tokenizer_config.json.
Status ApplyTokenizerConfig(const std::filesystem::path& folder, TokenizerSpec* spec) {
  const std::filesystem::path path = folder / "tokenizer_config.json";
  std::error_code ignored;  // a file that cannot be examined is treated as absent
  if (!std::filesystem::exists(path, ignored)) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const Json json, ReadJsonFile(path, {.max_bytes = kMaxConfigBytes}));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject config, JsonObject::From(json, path.string()));
  NPUMOE_ASSIGN_OR_RETURN(spec->bos_token, ReadToken(config, "bos_token"));
  NPUMOE_ASSIGN_OR_RETURN(spec->eos_token, ReadToken(config, "eos_token"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string name, config.String("tokenizer_class", ""));
  if (std::ranges::find(kLlamaClasses, name) == std::end(kLlamaClasses)) return OkStatus();
  NPUMOE_RETURN_IF_ERROR(
      ChooseToken(config, {"add_bos_token", true, spec->bos_token}, *spec, &spec->prefix_ids));
  return ChooseToken(config, {"add_eos_token", false, spec->eos_token}, *spec, &spec->suffix_ids);
}

}  // namespace

Result<TokenizerFiles> ReadTokenizerFiles(const std::filesystem::path& path) {
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(path, ignored);
  const std::filesystem::path file = is_folder ? path / "tokenizer.json" : path;
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(file, kMaxTokenizerBytes));
  TokenizerFiles files;
  files.name = file.string();
  files.hash = Hasher().Add(text).Hex();
  NPUMOE_ASSIGN_OR_RETURN(files.spec, ParseTokenizerJson(text, files.name));
  // Beside a file of another name lies the configuration of something else.
  if (file.filename() != "tokenizer.json") return files;
  NPUMOE_RETURN_IF_ERROR(ApplyTokenizerConfig(file.parent_path(), &files.spec));
  return files;
}

}  // namespace npumoe
