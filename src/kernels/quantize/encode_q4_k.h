// The Q4_K encoder: 256 values, x = d scale_r q - dmin minimum_r in runs of 32, with 4-bit q and
// 6-bit scale_r and minimum_r. Looks for the block with the least sum of squared errors:
//   1. each run alone: from several spacings, alternate nearest q and least squares
//   2. common d and dmin from the largest scale and minimum
//   3. alternate, while it helps: the best integer factors of each run near their real values, and
//      least squares for d and dmin over the whole block.
// Plain code in a fixed order: the same bytes on every machine.
#pragma once

#include <cstdint>

namespace npumoe {

// values[256], finite; block[144].
void EncodeQ4_K(const float* values, uint8_t* block);

}  // namespace npumoe
