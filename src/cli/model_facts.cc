#include "cli/model_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/table.h"
#include "cli/weight_classes.h"
#include "convert/convert.h"
#include "model/gguf/gguf_model.h"
#include "model/gguf/gguf_tokenizer.h"
#include "model/model.h"

namespace npumoe::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Tokens of context for which the memory is given; what is longer needs more.
constexpr int64_t kShownContext = 4096;

struct Facts {
  std::shared_ptr<const Model> model;
  std::vector<WeightClass> classes;
  std::vector<std::string> fallbacks;
  std::string format;     // "safetensors", "GGUF 3, 3 files"
  std::string tokenizer;  // "byte-level BPE (qwen2), 4,096 tokens"
};

// Keys and values are cached as fp32; latent attention keeps one row for both.
int64_t CacheBytesPerToken(const ModelConfig& c) {
  const AttentionConfig& a = c.attention;
  const int64_t floats = a.latent ? a.latent->cache_size() : 2 * int64_t{a.kv_size()};
  return int64_t{4} * c.num_layers * floats;
}

std::string TokenizerKind(const ConvertSource& source, const Model& model) {
  if (model.tokenizer == nullptr) return "none";
  bool by_bytes = true;
  std::string pattern;
  if (source.tokenizer) by_bytes = source.tokenizer->bpe.symbols == BpeSymbols::kBytes;
  if (source.metadata != nullptr) {
    const auto vocabulary = ReadGgufVocabulary(*source.metadata);
    if (vocabulary.ok() && *vocabulary) {
      by_bytes = (*vocabulary)->model == "gpt2";
      pattern = by_bytes ? " (" + (*vocabulary)->pre + ")" : "";
    }
  }
  return fmt::format("{}{}, {} tokens", by_bytes ? "byte-level BPE" : "SentencePiece BPE", pattern,
                     FormatCount(model.tokenizer->vocab_size()));
}

struct WantedType {
  DType type;
  Asked asked;
};

// The type that convert was asked for, or that most matrices have.
WantedType WantedTypeOf(const ConvertSource& source, const std::vector<WeightClass>& classes) {
  if (source.metadata != nullptr) {
    const Result<std::string> named = source.metadata->String(kWantedTypeKey, "");
    const auto wanted = named.ok() ? ParseAnyDType(*named) : std::nullopt;
    if (wanted) return {*wanted, Asked::kWritten};
  }
  std::map<DType, int64_t> elements;
  for (const WeightClass& c : classes) {
    for (const auto& [type, count] : c.types) elements[type] += count.elements;
  }
  const auto most = std::ranges::max_element(elements, {}, [](const auto& e) { return e.second; });
  return {most->first, Asked::kGuessed};
}

Result<Facts> Gather(const std::filesystem::path& path) {
  Facts facts;
  NPUMOE_ASSIGN_OR_RETURN(facts.model, LoadModel(path));
  NPUMOE_ASSIGN_OR_RETURN(const ConvertSource source, OpenConvertSource(path));
  facts.classes = WeightClasses(facts.model->weights);
  const WantedType wanted = WantedTypeOf(source, facts.classes);
  facts.fallbacks = FallbackKinds(facts.model->weights, wanted.type, wanted.asked);
  facts.format = source.metadata == nullptr ? "safetensors" : "GGUF";
  facts.tokenizer = TokenizerKind(source, *facts.model);
  return facts;
}

OrderedJson DescribeShape(const ModelConfig& c) {
  const AttentionConfig& a = c.attention;
  OrderedJson json = {{"layers", c.num_layers},
                      {"moe_layers", c.MoeLayers().size()},
                      {"hidden_size", c.hidden_size},
                      {"heads", a.num_heads},
                      {"kv_heads", a.num_kv_heads},
                      {"head_dim", a.head_dim},
                      {"experts", c.moe.num_experts},
                      {"experts_per_token", c.moe.experts_per_token},
                      {"expert_intermediate_size", c.moe.expert_intermediate_size}};
  if (a.latent) json["kv_lora_rank"] = a.latent->kv_lora_rank;
  if (a.window_tokens > 0) json["sliding_window"] = a.window_tokens;
  if (c.moe.has_shared_expert()) {
    json["shared_intermediate_size"] = c.moe.shared_intermediate_size;
  }
  json["vocab_size"] = c.vocab_size;
  json["context_tokens"] = c.max_position_embeddings;
  json["total_parameters"] = c.TotalParameters();
  json["active_parameters"] = c.ActiveParameters();
  return json;
}

OrderedJson Describe(const Facts& facts) {
  const Model& model = *facts.model;
  const int64_t weight_bytes = TotalBytes(facts.classes);
  const int64_t cache_bytes = CacheBytesPerToken(model.config);
  const int64_t context = std::min<int64_t>(kShownContext, model.config.max_position_embeddings);
  OrderedJson json = {{"family", model.config.family}, {"format", facts.format}};
  json.update(DescribeShape(model.config));
  OrderedJson types = OrderedJson::object();
  for (const WeightClass& c : facts.classes) types[c.name] = DescribeTypes(c);
  json["weight_types"] = types;
  json["fallback_types"] = facts.fallbacks;
  json["weight_bytes"] = weight_bytes;
  json["kv_cache_bytes_per_token"] = cache_bytes;
  json["memory_context_tokens"] = context;
  json["memory_bytes"] = weight_bytes + context * cache_bytes;
  json["tokenizer"] = facts.tokenizer;
  json["chat_template"] = model.chat_template ? model.chat_template->name() : "none";
  if (!model.chat_template_problem.empty()) {
    json["chat_template_problem"] = model.chat_template_problem;
  }
  json["hash"] = model.hash;
  return json;
}

void AddRow(const std::string& key, const OrderedJson& value, Table& table) {
  if (value.is_object()) {
    for (const auto& [name, entry] : value.items()) {
      table.AddRow({key + ": " + name, entry.get<std::string>()});
    }
    return;
  }
  if (value.is_array()) {
    for (const OrderedJson& entry : value) table.AddRow({key, entry.get<std::string>()});
    return;
  }
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (value.is_number_integer()) text = FormatCount(value.get<int64_t>());
  if (key.find("bytes") != std::string::npos) text = FormatBytes(value.get<double>());
  table.AddRow({key, text});
}

// A GGUF without tensors: the metadata and the vocabulary of a model.
Result<OrderedJson> DescribeVocabulary(const GgufMetadata& metadata) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string architecture,
                          metadata.String("general.architecture", "unknown"));
  NPUMOE_ASSIGN_OR_RETURN(const auto vocabulary, ReadGgufVocabulary(metadata));
  NPUMOE_ASSIGN_OR_RETURN(const std::string chat, metadata.String(kGgufChatTemplateKey, ""));
  OrderedJson json = {{"format", "GGUF"},
                      {"holds", vocabulary ? "a vocabulary only, no weights" : "metadata only"},
                      {"architecture", architecture}};
  if (!vocabulary) return json;
  const auto spelling = [&](const std::optional<int32_t>& id) -> std::string {
    return id ? vocabulary->tokens[static_cast<size_t>(*id)] : "none";
  };
  const bool by_bytes = vocabulary->model == "gpt2";
  json["tokenizer"] = by_bytes ? "byte-level BPE" : "SentencePiece BPE";
  json["vocab_size"] = vocabulary->tokens.size();
  json["merges"] = vocabulary->merges.size();
  json["pre_tokenizer"] = vocabulary->pre.empty() ? "none" : vocabulary->pre;
  json["bos_token"] = spelling(vocabulary->bos_id);
  json["eos_token"] = spelling(vocabulary->eos_id);
  json["chat_template"] = "none";
  if (!chat.empty()) {
    const auto recognised = ChatTemplate::Recognise(chat);
    json["chat_template"] = recognised.ok() ? recognised->name() : "not known to this build";
  }
  const auto tokenizer = LoadGgufTokenizer(metadata);
  if (!tokenizer.ok()) json["tokenizer_problem"] = tokenizer.status().message();
  return json;
}

Result<OrderedJson> DescribeAny(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(const std::filesystem::path gguf, GgufOf(path));
  if (!gguf.empty()) {
    NPUMOE_ASSIGN_OR_RETURN(const GgufModelFile file, GgufModelFile::Open(gguf));
    if (file.tensors().empty()) return DescribeVocabulary(file.metadata());
  }
  NPUMOE_ASSIGN_OR_RETURN(const Facts facts, Gather(path));
  return Describe(facts);
}

}  // namespace

Result<std::string> ModelFactsText(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(const OrderedJson described, DescribeAny(path));
  Table table({"property", "value"}, {Align::kLeft, Align::kLeft});
  for (const auto& [key, value] : described.items()) AddRow(key, value, table);
  return table.ToString();
}

Result<std::string> ModelFactsJson(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(const OrderedJson described, DescribeAny(path));
  return described.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace npumoe::cli
