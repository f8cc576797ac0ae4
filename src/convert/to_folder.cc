#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "base/mapped_file.h"
#include "convert/convert.h"
#include "convert/folder_tensors.h"
#include "convert/lost_fields.h"
#include "model/gguf/gguf_tokenizer.h"
#include "model/gguf/hub_config.h"

namespace npumoe {
namespace {

// The type of most matrices, which config.json names.
HubWeights WeightsOf(const std::vector<OutputTensor>& tensors) {
  HubWeights weights;
  int64_t most = 0;
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    int64_t elements = 0;
    for (const OutputTensor& t : tensors) {
      if (t.dtype == dtype && t.shape.rank() > 1) elements += t.shape.elements();
    }
    if (elements > most) weights.dtype = dtype;
    most = std::max(most, elements);
  }
  weights.mxfp4_experts =
      std::ranges::any_of(tensors, [](const OutputTensor& t) { return t.dtype == DType::kU8; });
  return weights;
}

void AddSpecialTokens(const GgufVocabulary& vocabulary, nlohmann::ordered_json& json) {
  for (const auto& [field, id] :
       {std::pair("bos_token", vocabulary.bos_id), std::pair("eos_token", vocabulary.eos_id),
        std::pair("unk_token", vocabulary.unknown_id),
        std::pair("pad_token", vocabulary.padding_id)}) {
    if (id) json[field] = vocabulary.tokens[static_cast<size_t>(*id)];
  }
  if (vocabulary.add_bos) json["add_bos_token"] = *vocabulary.add_bos;
  if (vocabulary.add_eos) json["add_eos_token"] = *vocabulary.add_eos;
}

// What transformers and this engine read of a tokenizer beside tokenizer.json.
Result<std::string> TokenizerConfig(const ConvertSource& source) {
  if (!source.tokenizer_config_json.empty()) return source.tokenizer_config_json;
  nlohmann::ordered_json json = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  if (source.metadata != nullptr) {
    NPUMOE_ASSIGN_OR_RETURN(const auto vocabulary, ReadGgufVocabulary(*source.metadata));
    if (vocabulary) AddSpecialTokens(*vocabulary, json);
  }
  if (!source.chat_template.empty()) json["chat_template"] = source.chat_template;
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

// Empty, with a note that says why, where the folder goes without.
std::string TokenizerJson(const ConvertSource& source, ConvertReport& report) {
  const Result<std::string> text =
      source.metadata == nullptr ? source.tokenizer_json : GgufTokenizerJson(*source.metadata);
  if (text.ok() && !text->empty()) return *text;
  report.notes.push_back(
      text.ok() ? "the model has no tokenizer, so the folder takes token ids only"
                : "the tokenizer was left out, so the folder takes token ids only; take "
                  "tokenizer.json from the model's original folder: " +
                      text.status().message());
  return {};
}

Status WriteTokenizer(const ConvertSource& source, const std::filesystem::path& folder,
                      ConvertReport& report) {
  const std::string tokenizer = TokenizerJson(source, report);
  if (!tokenizer.empty()) {
    NPUMOE_RETURN_IF_ERROR(WriteFileAtomically(folder / "tokenizer.json", tokenizer));
  } else if (source.chat_template.empty()) {
    return OkStatus();
  }
  NPUMOE_ASSIGN_OR_RETURN(const std::string config, TokenizerConfig(source));
  return WriteFileAtomically(folder / "tokenizer_config.json", config);
}

}  // namespace

Result<ConvertReport> ConvertToFolder(const ConvertSource& source,
                                      const std::filesystem::path& folder, const TypePolicy& policy,
                                      const WriteProgress& progress) {
  ConvertReport report;
  report.notes = NotesOnLostKeys(source);
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<OutputTensor> tensors,
                          FolderTensors(source, policy, report));
  NPUMOE_ASSIGN_OR_RETURN(const std::string config, HubConfigOf(source.config, WeightsOf(tensors)));
  NPUMOE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(folder / "model.safetensors"));
  NPUMOE_RETURN_IF_ERROR(WriteSafetensorsTo(file, tensors, progress));
  report.bytes = file.size();
  report.tensors = tensors.size();
  NPUMOE_RETURN_IF_ERROR(file.Commit());
  NPUMOE_RETURN_IF_ERROR(WriteFileAtomically(folder / "config.json", config));
  if (!source.generation_json.empty()) {
    NPUMOE_RETURN_IF_ERROR(
        WriteFileAtomically(folder / "generation_config.json", source.generation_json));
  }
  NPUMOE_RETURN_IF_ERROR(WriteTokenizer(source, folder, report));
  return report;
}

}  // namespace npumoe
