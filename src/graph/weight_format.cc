#include "graph/weight_format.h"

#include <array>
#include <string>

namespace npumoe {
namespace {

constexpr std::array kFormats = {WeightFormat::kF16,         WeightFormat::kInt8,
                                 WeightFormat::kInt8Block32, WeightFormat::kInt4Block32,
                                 WeightFormat::kLut4,        WeightFormat::kLut6};
constexpr int64_t kFp16Bytes = 2;
constexpr int64_t kBlock = 32;

}  // namespace

const char* Name(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF16:
      return "fp16";
    case WeightFormat::kInt8:
      return "int8";
    case WeightFormat::kInt8Block32:
      return "int8-block32";
    case WeightFormat::kInt4Block32:
      return "int4-block32";
    case WeightFormat::kLut4:
      return "lut4";
    case WeightFormat::kLut6:
      return "lut6";
  }
  return "";
}

Result<WeightFormat> ParseWeightFormat(std::string_view text) {
  std::string allowed;
  for (const WeightFormat format : kFormats) {
    if (text == Name(format)) return format;
    allowed += std::string(allowed.empty() ? "" : ", ") + Name(format);
  }
  return InvalidInput("weight format '" + std::string(text) + "' is not known; allowed are " +
                      allowed);
}

int64_t WeightBytes(WeightFormat format, int64_t out, int64_t in) {
  const int64_t weights = out * in;
  switch (format) {
    case WeightFormat::kF16:
      return weights * kFp16Bytes;
    case WeightFormat::kInt8:
      return weights + out * kFp16Bytes;
    case WeightFormat::kInt8Block32:
      return weights + weights / kBlock * kFp16Bytes;
    case WeightFormat::kInt4Block32:
      return weights / 2 + weights / kBlock * kFp16Bytes;
    case WeightFormat::kLut4:
      return weights / 2 + 16 * kFp16Bytes;
    case WeightFormat::kLut6:
      return (weights * 6 + 7) / 8 + 64 * kFp16Bytes;
  }
  return 0;
}

}  // namespace npumoe
