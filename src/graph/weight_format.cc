#include "graph/weight_format.h"

#include <string>

namespace npumoe {
namespace {

constexpr int64_t kBlock = 32;

struct FormatEntry {
  WeightFormat format;
  const char* name;
  DType values;
  int64_t block;    // values that share a scale; 0: a row, or no scales
  int64_t entries;  // of the table
};

// In the order of the enumeration.
constexpr FormatEntry kFormats[] = {
    {WeightFormat::kF16, "fp16", DType::kF16, 0, 0},
    {WeightFormat::kInt8, "int8", DType::kI8, 0, 0},
    {WeightFormat::kInt8Block32, "int8-block32", DType::kI8, kBlock, 0},
    {WeightFormat::kInt4Block32, "int4-block32", DType::kI4, kBlock, 0},
    {WeightFormat::kLut4, "lut4", DType::kU4, 0, 16},
    {WeightFormat::kLut6, "lut6", DType::kU6, 0, 64},
};

const FormatEntry& EntryOf(WeightFormat format) { return kFormats[static_cast<size_t>(format)]; }

}  // namespace

const char* Name(WeightFormat format) { return EntryOf(format).name; }

Result<WeightFormat> ParseWeightFormat(std::string_view text) {
  std::string known;
  for (const FormatEntry& entry : kFormats) {
    if (text == entry.name) return entry.format;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  return InvalidInput("weight format '" + std::string(text) + "' is not known; allowed are " +
                      known);
}

DType ValuesType(WeightFormat format) { return EntryOf(format).values; }
int64_t ScaleBlock(WeightFormat format) { return EntryOf(format).block; }
int64_t TableEntries(WeightFormat format) { return EntryOf(format).entries; }

int64_t ScaleCount(WeightFormat format, int64_t out, int64_t in) {
  const FormatEntry& entry = EntryOf(format);
  if (format == WeightFormat::kF16) return 0;
  if (entry.entries > 0) return entry.entries;
  NPUMOE_CHECK(entry.block == 0 || in % entry.block == 0);
  return entry.block == 0 ? out : out * (in / entry.block);
}

int64_t WeightBytes(WeightFormat format, int64_t out, int64_t in) {
  return static_cast<int64_t>(BytesOf(ValuesType(format), out * in) +
                              BytesOf(DType::kF16, ScaleCount(format, out, in)));
}

}  // namespace npumoe
