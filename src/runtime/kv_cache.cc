#include "runtime/kv_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/check.h"
#include "base/checked_math.h"

namespace npumoe {
namespace {

// Chosen: one step is 1 MB a layer for a model with 4 key/value heads of 128.
constexpr int64_t kStepTokens = 256;

void Grow(AlignedBuffer<float>& buffer, int64_t floats) {
  AlignedBuffer<float> larger(static_cast<size_t>(floats));
  if (larger.size() <= buffer.size()) return;  // grown before a sibling ran out of memory
  if (buffer.size() > 0) std::memcpy(larger.data(), buffer.data(), buffer.size() * sizeof(float));
  buffer = std::move(larger);
}

}  // namespace

KvCache::KvCache(int num_layers, const KvRowSizes& sizes, int64_t max_tokens)
    : layers_(static_cast<size_t>(num_layers)), sizes_(sizes), max_tokens_(max_tokens) {}

Status KvCache::Reserve(int64_t tokens) {
  if (tokens > max_tokens_) {
    return InvalidInput(
        fmt::format("{} tokens do not fit a context of {} tokens", tokens, max_tokens_));
  }
  if (tokens <= capacity_tokens_) return OkStatus();
  // Half as much again, so that a long decode copies each row a constant number of times.
  const int64_t wanted = std::max(tokens, capacity_tokens_ + capacity_tokens_ / 2);
  const int64_t grown = std::min(RoundUp(wanted, kStepTokens), max_tokens_);
  try {
    for (Layer& layer : layers_) {
      Grow(layer.keys, grown * sizes_.keys);
      Grow(layer.values, grown * sizes_.values);
    }
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(fmt::format(
        "no memory for a KV cache of {} tokens ({} MB); choose a smaller context (-c)", grown,
        (grown * (sizes_.keys + sizes_.values) *
         static_cast<int64_t>(layers_.size() * sizeof(float))) >>
            20));
  }
  capacity_tokens_ = grown;
  return OkStatus();
}

Matrix KvCache::Keys(int layer, int64_t begin, int64_t rows) {
  return Rows(layers_[static_cast<size_t>(layer)].keys, sizes_.keys, begin, rows);
}

Matrix KvCache::Values(int layer, int64_t begin, int64_t rows) {
  return Rows(layers_[static_cast<size_t>(layer)].values, sizes_.values, begin, rows);
}

Matrix KvCache::Rows(AlignedBuffer<float>& buffer, int64_t size, int64_t begin,
                     int64_t rows) const {
  NPUMOE_CHECK(begin >= 0 && begin + rows <= capacity_tokens_);
  return {buffer.data() + begin * size, rows, size, size};
}

int64_t KvCache::bytes() const {
  int64_t bytes = 0;
  for (const Layer& layer : layers_) {
    bytes += static_cast<int64_t>((layer.keys.size() + layer.values.size()) * sizeof(float));
  }
  return bytes;
}

}  // namespace npumoe
