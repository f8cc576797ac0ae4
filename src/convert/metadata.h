// What a GGUF says beside its tensors.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "convert/source.h"
#include "model/gguf/metadata_builder.h"

namespace npumoe {

// Everything but what follows from the tensors (general.file_type): config, tokenizer, template,
// end tokens, name. Adds notes on what other engines will miss.
Status AddModelMetadata(const ConvertSource& source, GgufMetadataBuilder& builder,
                        std::vector<std::string>& notes);

}  // namespace npumoe
