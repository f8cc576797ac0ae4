#include "convert/elements.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "kernels/convert/convert.h"
#include "kernels/quantize/quantize.h"

namespace npumoe {
namespace {

// Elements at a time: a whole number of every type's blocks (chosen: the buffers stay in the cache
// of a core).
constexpr int64_t kPieceElements = 65'536;
constexpr size_t kPieceBytes = size_t{4} << 20;  // of what is only copied; chosen

Status CopyBytes(const TensorView& view, const ByteSink& sink) {
  std::string_view rest(view.as<char>(), view.bytes());
  while (!rest.empty()) {
    const std::string_view piece = rest.substr(0, kPieceBytes);
    NPUMOE_RETURN_IF_ERROR(sink(piece));
    rest.remove_prefix(piece.size());
  }
  return OkStatus();
}

void Decode(const TensorView& view, int64_t begin, std::span<float> out) {
  if (!IsQuantized(view.dtype)) {
    ToF32(view, begin, out);
    return;
  }
  const size_t first = BytesOf(view.dtype, begin);
  const size_t bytes = BytesOf(view.dtype, static_cast<int64_t>(out.size()));
  DecodeBlocks(view.dtype, {view.data + first, bytes}, out);
}

Status CheckRange(std::span<const float> values, DType dtype, const std::string& name) {
  const bool half = dtype == DType::kF16;
  if (!half && !IsQuantized(dtype)) return OkStatus();
  // The largest float that rounds to a finite half.
  constexpr float kLargestToF16 = 65519.996f;
  // Scales of blocks are halves of at most 1/8 of the largest value.
  const float limit = half ? kLargestToF16 : kF16Max;
  for (const float value : values) {
    if (std::abs(value) <= limit || (half && !std::isfinite(value))) continue;
    return InvalidInput(fmt::format("{}: holds {}, which {} cannot hold; convert to bf16 or f32",
                                    name, value, Name(dtype)));
  }
  return OkStatus();
}

void Encode(std::span<const float> values, DType dtype, std::vector<std::byte>& out) {
  out.resize(BytesOf(dtype, static_cast<int64_t>(values.size())));
  if (IsQuantized(dtype)) {
    EncodeBlocks(dtype, values, out);
  } else if (dtype == DType::kF16) {
    F32ToF16(values, reinterpret_cast<uint16_t*>(out.data()));
  } else if (dtype == DType::kBF16) {
    auto* bits = reinterpret_cast<uint16_t*>(out.data());
    std::ranges::transform(values, bits, BF16FromF32);
  } else {
    std::ranges::copy(values, reinterpret_cast<float*>(out.data()));
  }
}

}  // namespace

Status ConvertElements(const TensorView& view, DType dtype, const std::string& name,
                       const ByteSink& sink) {
  if (view.dtype == dtype) return CopyBytes(view, sink);
  std::vector<float> values;
  std::vector<std::byte> encoded;
  const int64_t total = view.shape.elements();
  for (int64_t begin = 0; begin < total; begin += kPieceElements) {
    values.resize(static_cast<size_t>(std::min(kPieceElements, total - begin)));
    Decode(view, begin, values);
    NPUMOE_RETURN_IF_ERROR(CheckRange(values, dtype, name));
    Encode(values, dtype, encoded);
    NPUMOE_RETURN_IF_ERROR(sink({reinterpret_cast<const char*>(encoded.data()), encoded.size()}));
  }
  return OkStatus();
}

}  // namespace npumoe
