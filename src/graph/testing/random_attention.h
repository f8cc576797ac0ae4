// Attention weights of every kind, from fixed seeds.
#pragma once

#include <string>
#include <vector>

#include "graph/attention_program.h"
#include "graph/head_program.h"
#include "graph/testing/random_matrices.h"

namespace npumoe::testing {

// What a model's attention may have beside its four projections.
struct AttentionOptions {
  bool biases = false;
  bool sinks = false;
  WeightFormat format = WeightFormat::kF16;
};

// Gains near 1, as trained norms have.
inline WeightData RandomGains(uint32_t seed) {
  return {{}, [seed](std::span<std::byte> bytes) {
            const auto count = static_cast<int64_t>(bytes.size() / 2);
            const std::vector<float> values = NormalValues(count, seed, 0.2f);
            for (size_t i = 0; i < values.size(); ++i) {
              const uint16_t bits = F16FromF32(1 + values[i]);
              std::memcpy(&bytes[2 * i], &bits, sizeof bits);
            }
            return OkStatus();
          }};
}

inline AttentionProgramWeights RandomAttention(const AttentionProgramShape& shape,
                                               const AttentionOptions& options, uint32_t seed) {
  const int64_t queries = shape.num_heads * shape.head_dim;
  const int64_t keys = shape.num_kv_heads * shape.head_dim;
  const int64_t values = shape.num_kv_heads * shape.value_dim;
  AttentionProgramWeights weights;
  weights.query = EncodedMatrix(options.format, queries, shape.hidden, seed);
  weights.key = EncodedMatrix(options.format, keys, shape.hidden, seed + 1);
  weights.value = EncodedMatrix(options.format, values, shape.hidden, seed + 2);
  weights.output =
      EncodedMatrix(options.format, shape.hidden, shape.num_heads * shape.value_dim, seed + 3);
  if (options.biases) {
    weights.query_bias = RandomHalves(seed + 4, 0.3f);
    weights.key_bias = RandomHalves(seed + 5, 0.3f);
    weights.value_bias = RandomHalves(seed + 6, 0.3f);
    weights.output_bias = RandomHalves(seed + 7, 0.3f);
  }
  if (shape.head_norm != HeadNorm::kNone) {
    weights.query_norm = RandomGains(seed + 8);
    weights.key_norm = RandomGains(seed + 9);
  }
  if (options.sinks) {
    for (int head = 0; head < shape.num_heads; ++head) {
      weights.sinks.push_back(0.5f * static_cast<float>(head) - 0.75f);
    }
  }
  return weights;
}

inline HeadWeights RandomHead(const HeadProgramShape& shape, WeightFormat format, uint32_t seed) {
  HeadWeights weights;
  for (const HeadSlice& slice : HeadSlices(shape)) {
    weights.slices.push_back(EncodedMatrix(format, slice.entries, shape.hidden, seed));
    weights.biases.push_back(RandomHalves(seed + 1, 0.5f));
    seed += 2;
  }
  return weights;
}

}  // namespace npumoe::testing
