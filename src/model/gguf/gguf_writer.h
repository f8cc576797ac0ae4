// Writes a GGUF file of version 3: metadata, tensor directory, aligned tensors.
#pragma once

#include <span>

#include "base/atomic_file.h"
#include "base/status.h"
#include "model/gguf/metadata_builder.h"
#include "model/output_tensor.h"

namespace npumoe {

// A whole file; not committed.
Status WriteGgufTo(AtomicFile& file, const GgufMetadataBuilder& metadata,
                   std::span<const OutputTensor> tensors, const WriteProgress& progress = {});

}  // namespace npumoe
