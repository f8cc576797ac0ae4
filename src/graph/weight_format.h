// Weight formats: how a program's package stores a weight matrix [out, in], and the conversion
// into each. Whatever the format, the graph sees the materialised fp16 matrix: the package holds a
// constexpr operation that the device evaluates when it loads or while it streams.
//
//   format        stored                                             materialised value
//   fp16          fp16 [out, in]                                     itself
//   int8          int8 [out, in], fp16 scale [out, 1]                fp16(scale[o] * q)
//   int8-block32  int8 [out, in], fp16 scale [out, in / 32]          fp16(scale[o, i / 32] * q)
//   int4-block32  int4 [out, in], fp16 scale [out, in / 32]          fp16(scale[o, i / 32] * q)
//   lut4, lut6    4 or 6 bit index [out, in], fp16 table [16 | 64]   table[index]
//
// The block formats are GGUF's Q8_0 and Q4_0 with the same integers and scales. Tables come from
// k-means over the matrix. docs/design/coreml-format.md, section 5.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "graph/graph.h"

namespace npumoe {

enum class WeightFormat { kF16, kInt8, kInt8Block32, kInt4Block32, kLut4, kLut6 };
const char* Name(WeightFormat format);  // "fp16", "int8", "int8-block32", ...
Result<WeightFormat> ParseWeightFormat(std::string_view text);

// How the values of a matrix are stored, and how many fp16 scales or table entries it has.
DType ValuesType(WeightFormat format);
int64_t ScaleCount(WeightFormat format, int64_t out, int64_t in);
// Values that share a scale, along a row; 0: a row, or the format has no scales.
int64_t ScaleBlock(WeightFormat format);
int64_t TableEntries(WeightFormat format);  // 0: no table

// Bytes in the weight file, scales and tables included. `in` must be a multiple of 32 for the
// block formats.
int64_t WeightBytes(WeightFormat format, int64_t out, int64_t in);

// A matrix [out, in] in its format. For fp16 `scales` is absent.
struct WeightMatrix {
  WeightMatrix() = default;
  WeightMatrix(WeightData fp16) : values(std::move(fp16)) {}  // so that fp16 needs no format
  WeightMatrix(WeightFormat stored_as, WeightData stored, WeightData scales_or_table)
      : format(stored_as), values(std::move(stored)), scales(std::move(scales_or_table)) {}

  WeightFormat format = WeightFormat::kF16;
  WeightData values;
  WeightData scales;  // of the integers, or the table
};

}  // namespace npumoe
