// The tensors of a model folder: names, layouts and types, each with a function that makes its
// bytes when their turn comes.
#pragma once

#include <vector>

#include "base/status.h"
#include "convert/convert.h"
#include "model/output_tensor.h"

namespace npumoe {

// The model's tensors under the names, and in the layouts, of published files of its family; adds
// fallbacks to `report`. They borrow from `source`.
Result<std::vector<OutputTensor>> FolderTensors(const ConvertSource& source,
                                                const TypePolicy& policy, ConvertReport& report);

}  // namespace npumoe
