// Weights of latent attention, from fixed seeds.
#pragma once

#include "graph/latent_attention_program.h"
#include "graph/testing/random_attention.h"

namespace npumoe::testing {

inline LatentProgramWeights RandomLatentAttention(const LatentProgramShape& shape,
                                                  WeightFormat format, uint32_t seed) {
  LatentProgramWeights weights;
  const int64_t queries = shape.num_heads * shape.key_dim();
  if (shape.query_rank > 0) {
    weights.query_down = EncodedMatrix(format, shape.query_rank, shape.hidden, seed);
    weights.query_norm = RandomGains(seed + 1);
  }
  weights.query = EncodedMatrix(format, queries,
                                shape.query_rank > 0 ? shape.query_rank : shape.hidden, seed + 2);
  weights.latent = EncodedMatrix(format, shape.latent_dim(), shape.hidden, seed + 3);
  weights.latent_norm = RandomGains(seed + 4);
  weights.output = EncodedMatrix(format, shape.hidden, shape.num_heads * shape.value_dim, seed + 5);
  for (int head = 0; head < shape.num_heads; ++head) {
    weights.expand.push_back(EncodedMatrix(format, shape.expanded_dim(), shape.rank,
                                           seed + 6 + static_cast<uint32_t>(head)));
  }
  return weights;
}

}  // namespace npumoe::testing
