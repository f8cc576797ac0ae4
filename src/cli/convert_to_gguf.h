// A model as one GGUF file.
#pragma once

#include <filesystem>

#include "base/status.h"
#include "cli/convert_report.h"
#include "cli/convert_source.h"
#include "cli/convert_types.h"
#include "model/gguf/metadata_builder.h"
#include "model/output_tensor.h"

namespace npumoe::cli {

// The type that --type asked for, where it did: what is not of it fell back.
inline constexpr const char* kWantedTypeKey = "npumoe.wanted_type";

// Replaces `out` where it exists.
Result<ConvertReport> ConvertToGguf(const ConvertSource& source, const std::filesystem::path& out,
                                    const TypePolicy& policy, const WriteProgress& progress);

// Everything but what follows from the tensors (general.file_type): config, tokenizer, template,
// end tokens, name. Adds notes on what other engines will miss.
Status AddModelMetadata(const ConvertSource& source, GgufMetadataBuilder& builder,
                        std::vector<std::string>& notes);

}  // namespace npumoe::cli
