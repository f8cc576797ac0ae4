#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/mapped_file.h"
#include "convert/convert.h"
#include "convert/folder_tensors.h"
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

// What transformers and this engine read of a tokenizer beside tokenizer.json.
Result<std::string> TokenizerConfig(const ConvertSource& source) {
  if (!source.tokenizer_config_json.empty()) return source.tokenizer_config_json;
  nlohmann::ordered_json json = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
  if (source.metadata != nullptr) {
    NPUMOE_ASSIGN_OR_RETURN(const auto vocabulary, ReadGgufVocabulary(*source.metadata));
    if (vocabulary && vocabulary->bos_id) {
      json["bos_token"] = vocabulary->tokens[static_cast<size_t>(*vocabulary->bos_id)];
    }
    if (vocabulary && vocabulary->eos_id) {
      json["eos_token"] = vocabulary->tokens[static_cast<size_t>(*vocabulary->eos_id)];
    }
    if (vocabulary && vocabulary->add_bos) json["add_bos_token"] = *vocabulary->add_bos;
  }
  if (!source.chat_template.empty()) json["chat_template"] = source.chat_template;
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Status WriteTokenizer(const ConvertSource& source, const std::filesystem::path& folder,
                      ConvertReport& report) {
  if (source.tokenizer_json.empty()) {
    report.notes.emplace_back(
        source.metadata != nullptr && source.metadata->Has("tokenizer.ggml.tokens")
            ? "the GGUF's tokenizer is not in the form of tokenizer.json and was left out; take "
              "that file from the model's original folder"
            : "the model has no tokenizer, so the folder takes token ids only");
    return OkStatus();
  }
  NPUMOE_RETURN_IF_ERROR(WriteFileAtomically(folder / "tokenizer.json", source.tokenizer_json));
  NPUMOE_ASSIGN_OR_RETURN(const std::string config, TokenizerConfig(source));
  return WriteFileAtomically(folder / "tokenizer_config.json", config);
}

}  // namespace

Result<ConvertReport> ConvertToFolder(const ConvertSource& source,
                                      const std::filesystem::path& folder, const TypePolicy& policy,
                                      const WriteProgress& progress) {
  ConvertReport report;
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<OutputTensor> tensors,
                          FolderTensors(source, policy, report));
  NPUMOE_ASSIGN_OR_RETURN(const std::string config, HubConfigOf(source.config, WeightsOf(tensors)));
  NPUMOE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(folder / "model.safetensors"));
  NPUMOE_RETURN_IF_ERROR(WriteSafetensorsTo(file, tensors, progress));
  NPUMOE_RETURN_IF_ERROR(source.refuse_left_over());
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
