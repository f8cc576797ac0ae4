// KvCache: keys (rotary applied) and values of every token in the context, fp32 rows per layer,
// owned by the host: NPU graphs would take it as read-only input (architecture: in-graph state
// writes are refused on some chips). Latent attention has one row per token, kept as its key.
//
// Memory follows the context: it grows in steps up to `max_tokens`, never all at once.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/status.h"
#include "kernels/matrix.h"

namespace npumoe {

// Floats per token and layer.
struct KvRowSizes {
  int64_t keys = 0;
  int64_t values = 0;  // 0: there are none
};

class KvCache {
 public:
  KvCache(int num_layers, const KvRowSizes& sizes, int64_t max_tokens);

  // Makes room for `tokens` rows per layer and keeps what is there. Fails without memory, or
  // beyond max_tokens, naming both numbers; the contents stay as they were.
  Status Reserve(int64_t tokens);

  // Rows [begin, begin + rows) of a layer, [rows, size]; room must be reserved.
  Matrix Keys(int layer, int64_t begin, int64_t rows);
  Matrix Values(int layer, int64_t begin, int64_t rows);

  int64_t capacity_tokens() const { return capacity_tokens_; }
  int64_t max_tokens() const { return max_tokens_; }
  int64_t bytes() const;

 private:
  struct Layer {
    AlignedBuffer<float> keys;
    AlignedBuffer<float> values;
  };
  Matrix Rows(AlignedBuffer<float>& buffer, int64_t size, int64_t begin, int64_t rows) const;

  std::vector<Layer> layers_;
  KvRowSizes sizes_;
  int64_t max_tokens_;
  int64_t capacity_tokens_ = 0;
};

}  // namespace npumoe
