// Quantised blocks of GGUF: what their bytes mean, decoding and encoding.
//
// A block holds 32 values (256 for the K types) in little-endian bytes; d, m are fp16.
//   Q8_0   d; 32 int8                        x = d q
//   Q4_0   d; 16 bytes, low nibbles first    x = d (q - 8)
//   Q4_1   d, m; 16 bytes                    x = d q + m
//   Q5_0   d; 4 bytes of fifth bits; 16      x = d (q - 16)
//   Q5_1   d, m; 4; 16                       x = d q + m
//   Q4_K, Q5_K  d, dmin; 12 bytes of 6-bit scales and minima of 8 runs of 32; (32;) 128
//   Q6_K   128 low nibbles, 64 upper pairs, 16 int8 scales of runs of 16, d
//   MXFP4  one exponent byte e (2^(e - 127)); 16 bytes of E2M1 nibbles, low nibbles first
// base/quantized_block.h says the same in code; docs/quantised-types.md how products use them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "base/tensor_view.h"

namespace npumoe {

// out[i] = value of element i, with the same bits on every machine; any bytes are legal, a scale
// that is infinite or no number gives such values. blocks.size() == BytesOf(dtype, out.size()).
void DecodeBlocks(DType dtype, std::span<const std::byte> blocks, std::span<float> out);
void DecodeBlocksReference(DType dtype, std::span<const std::byte> blocks, std::span<float> out);

// Whether EncodeBlocks makes this type: Q8_0, Q4_0, Q4_K.
bool CanEncode(DType dtype);
// Near blocks of `values` (a whole number of blocks; finite, within the range of fp16, beyond which
// scales overflow). The same bytes on every machine; of Q8_0 and Q4_0 those of the `gguf` Python
// package; for Q4_K a search for the least squared error (encode_q4_k.h).
void EncodeBlocks(DType dtype, std::span<const float> values, std::span<std::byte> blocks);

}  // namespace npumoe
