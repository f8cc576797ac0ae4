// The content hash that ties calibrations, plans and packages to a model.
#pragma once

#include <map>
#include <string>

#include "base/hash.h"
#include "base/tensor_view.h"
#include "model/config.h"

namespace npumoe {

void AddConfigToHash(const ModelConfig& config, Hasher& hasher);

// Config, every tensor's name, type and shape, and samples of its bytes: a small tensor whole, of
// a larger one pages at equal distances. The number of pages falls as the number of tensors
// rises, so that a model of any size takes about 64 MiB of reads. Where the bytes stand (one
// file, many shards) makes no difference.
std::string HashOfModel(const ModelConfig& config,
                        const std::map<std::string, TensorView>& tensors);

}  // namespace npumoe
