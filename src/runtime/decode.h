// Decode: one token through all layers, on the CPU: one token cannot amortise a launch. Allocates
// nothing once a session has decoded a token.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/layer.h"
#include "runtime/moe_dispatch.h"

namespace npumoe {

struct DecodeState {
  ChunkRows rows;
  MoeState moe;
  std::vector<float> logits;  // [vocab]
};

// Room for the token must be reserved in the cache; `id` must be in the vocabulary. Fails where the
// model's numbers are not finite (finite_check.h).
Status DecodeToken(LayerContext& context, int32_t id, int64_t position, DecodeState& state);

}  // namespace npumoe
