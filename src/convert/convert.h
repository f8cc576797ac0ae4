// Models from one form to another: a folder in Hugging Face's layout or a GGUF in, either out.
//
//   OpenConvertSource (source.h) -> ConvertToGguf or ConvertToFolder
//
// Tensors keep their logical shapes: matrices [out, in], all experts of a role stacked as
// [experts, out, in] in a GGUF; folders get the names and layouts of published ones of the family.
// Each passes through memory alone, stacked ones one expert at a time, so that a model larger than
// memory can be converted. A source is only read; it must outlive the call, and one thread at a
// time may use it.
//
// What GGUF says and how is model/gguf's matter; options, messages and where a folder is put are
// those of cli/convert_command.cc.
#pragma once

#include <filesystem>

#include "base/status.h"
#include "convert/report.h"
#include "convert/source.h"
#include "convert/types.h"
#include "model/output_tensor.h"

namespace npumoe {

// The type that --type asked for, where it did: what is not of it fell back.
inline constexpr const char* kWantedTypeKey = "npumoe.wanted_type";

// Writes one GGUF file, or replaces it: under a temporary name beside it, removed by any failure,
// until it is whole. `progress` is called as bytes are written; its error ends the work.
// Fails, as ConvertToFolder does, for a tensor that is missing, left over or of another shape than
// the config makes it, blocks that would have to be made of blocks (Requantize), and a config that
// the other form cannot say, all before anything is written; then for a number that the wanted
// type cannot hold and whatever the file system refuses. Messages name file and tensor.
Result<ConvertReport> ConvertToGguf(const ConvertSource& source, const std::filesystem::path& out,
                                    const TypePolicy& policy, const WriteProgress& progress);

// Writes config.json, model.safetensors and what there is of tokenizer.json,
// tokenizer_config.json and generation_config.json into `folder`, which exists and is empty and
// which the caller removes where this fails.
Result<ConvertReport> ConvertToFolder(const ConvertSource& source,
                                      const std::filesystem::path& folder, const TypePolicy& policy,
                                      const WriteProgress& progress);

}  // namespace npumoe
