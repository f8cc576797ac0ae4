// Latent attention programs (DeepSeek-V2): the attention of one layer over a chunk of C tokens and
// a history of up to L cached ones, as a static graph, like attention_program.h. The host's cache
// holds one row a token, [rank] normed and [rotary_dim] rotated, from which keys and values of
// every head are made inside the program:
//
//   key_h = [ expand_h^K c | rope ]      value_h = expand_h^V c
//
//   inputs   x        [1, hidden, 1, C]              normed hidden rows
//            cos, sin [1, rotary_dim, 1, C]          rotary tables of the chunk's positions
//            mask     [1, L + C, 1, C]               0, or kMaskedOut
//            latents  [1, rank + rotary_dim, 1, L]   absent when L = 0
//   outputs  y            [1, hidden, 1, C]          after the output projection
//            new_latents  [1, rank + rotary_dim, 1, C]
//
// A head's queries are [ nope_dim | rotary_dim ], of which the last turn.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/attention_heads.h"
#include "graph/attention_parts.h"
#include "graph/graph.h"
#include "graph/weight_format.h"

namespace npumoe {

struct LatentProgramShape {
  int64_t hidden = 0;
  int num_heads = 0;
  int64_t query_rank = 0;  // of queries in two products with a norm between them; 0: in one
  int64_t rank = 0;        // of the latents
  int64_t nope_dim = 0;    // channels of a head's keys that do not turn
  int64_t rotary_dim = 0;  // that turn, the same for all heads
  int64_t value_dim = 0;
  float scale = 0;         // of the logits
  float norm_epsilon = 0;  // of the latents' norm and the queries'
  RotaryPairs rotary_pairs = RotaryPairs::kSideBySide;

  int64_t key_dim() const { return nope_dim + rotary_dim; }
  int64_t latent_dim() const { return rank + rotary_dim; }       // of a cached row
  int64_t expanded_dim() const { return nope_dim + value_dim; }  // a head's, of the latents
};

struct LatentProgramWeights {
  WeightMatrix query_down;           // [query_rank, hidden]; absent where query_rank is 0
  WeightData query_norm = {};        // fp16 [query_rank], likewise
  WeightMatrix query;                // [num_heads * key_dim, query_rank or hidden]
  WeightMatrix latent;               // [rank + rotary_dim, hidden]
  WeightData latent_norm = {};       // fp16 [rank]
  std::vector<WeightMatrix> expand;  // for each head [nope_dim + value_dim, rank]
  WeightMatrix output;               // [hidden, num_heads * value_dim]
};

Result<Graph> BuildLatentAttentionGraph(const LatentProgramShape& shape,
                                        const LatentProgramWeights& weights,
                                        const AttentionExtent& extent,
                                        const std::string& function_name = "main");

}  // namespace npumoe
