#include "runtime/rope_tables.h"

#include "kernels/rope/rope.h"

namespace npumoe {

RopeTables::RopeTables(const ModelConfig& config) {
  const AttentionConfig& attention = config.attention;
  const int dims = attention.latent ? attention.latent->rope_head_dim : attention.head_dim;
  const double theta = config.rope.theta;
  if (const auto* yarn = std::get_if<YarnScaling>(&config.rope.scaling)) {
    const YarnParameters parameters{yarn->factor, yarn->original_max_positions, yarn->beta_fast,
                                    yarn->beta_slow, yarn->truncate};
    short_ = {YarnInverseFrequencies(dims, theta, parameters), yarn->attention_factor};
  } else if (const auto* both = std::get_if<LongRopeScaling>(&config.rope.scaling)) {
    short_ = {LongRopeInverseFrequencies(dims, theta, both->short_factors),
              both->short_attention_factor};
    long_ = {LongRopeInverseFrequencies(dims, theta, both->long_factors),
             both->long_attention_factor};
    border_tokens_ = both->original_max_positions;
  } else {
    short_ = {RopeInverseFrequencies(dims, theta), 1};
  }
}

}  // namespace npumoe
