// A model as a folder in Hugging Face's layout.
#pragma once

#include <filesystem>

#include "base/status.h"
#include "cli/convert_report.h"
#include "cli/convert_source.h"
#include "cli/convert_types.h"
#include "model/output_tensor.h"

namespace npumoe::cli {

// Writes config.json, model.safetensors and what there is of tokenizer.json,
// tokenizer_config.json and generation_config.json into `folder`, which exists and is empty.
Result<ConvertReport> ConvertToFolder(const ConvertSource& source,
                                      const std::filesystem::path& folder, const TypePolicy& policy,
                                      const WriteProgress& progress);

// The model's tensors under the names, and in the layouts, of published files of its family.
Result<std::vector<OutputTensor>> FolderTensors(const ConvertSource& source,
                                                const TypePolicy& policy, ConvertReport& report);

}  // namespace npumoe::cli
