#include "graph/weights/matrix_source.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/quantized_block.h"

namespace npumoe {
namespace {

// Chosen: a block that stays in the second-level cache.
constexpr int64_t kFloatsAtATime = 32768;

template <class T>
T Load(const std::byte* data, int64_t index) {
  T value;
  std::memcpy(&value, data + static_cast<size_t>(index) * sizeof value, sizeof value);
  return value;
}

void ReadPlain(const TensorView& matrix, int64_t begin, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t at = begin + static_cast<int64_t>(i);
    if (matrix.dtype == DType::kF32) {
      out[i] = Load<float>(matrix.data, at);
    } else if (matrix.dtype == DType::kF16) {
      out[i] = F32FromF16(Load<uint16_t>(matrix.data, at));
    } else {
      out[i] = F32FromBF16(Load<uint16_t>(matrix.data, at));
    }
  }
}

// `begin` and the size are whole blocks: rows are.
void ReadBlocks(const TensorView& matrix, int64_t begin, std::span<float> out) {
  const auto elements = static_cast<size_t>(BlockElements(matrix.dtype));
  const std::byte* block = matrix.data + BytesOf(matrix.dtype, begin);
  for (size_t i = 0; i < out.size(); i += elements, block += BlockBytes(matrix.dtype)) {
    DecodeBlock(matrix.dtype, block, &out[i]);
  }
}

}  // namespace

Result<MatrixSource> SourceOf(const TensorView& matrix, const std::string& what) {
  const bool quantized = IsQuantized(matrix.dtype);
  const bool known = quantized || matrix.dtype == DType::kF32 || matrix.dtype == DType::kF16 ||
                     matrix.dtype == DType::kBF16;
  if (!known || matrix.empty() || matrix.shape.rank() != 2) {
    return Unsupported(what + " is " + Name(matrix.dtype) + " " + matrix.shape.ToString() +
                       "; a matrix of F32, F16, BF16 or quantised blocks is needed");
  }
  MatrixSource source{matrix.shape[0], matrix.shape[1], what, nullptr};
  source.read = [matrix, quantized](int64_t first, std::span<float> rows) {
    const int64_t begin = first * matrix.shape[1];
    if (quantized) {
      ReadBlocks(matrix, begin, rows);
    } else {
      ReadPlain(matrix, begin, rows);
    }
    return OkStatus();
  };
  return source;
}

Status ForEachRows(const MatrixSource& source,
                   const std::function<Status(int64_t, std::span<const float>)>& visit) {
  const int64_t at_a_time = std::max<int64_t>(1, kFloatsAtATime / source.in);
  std::vector<float> rows(static_cast<size_t>(std::min(at_a_time, source.out) * source.in));
  for (int64_t first = 0; first < source.out; first += at_a_time) {
    const int64_t count = std::min(at_a_time, source.out - first);
    const std::span<float> part = std::span(rows).first(static_cast<size_t>(count * source.in));
    NPUMOE_RETURN_IF_ERROR(source.read(first, part).WithContext(source.what));
    NPUMOE_RETURN_IF_ERROR(visit(first, part));
  }
  return OkStatus();
}

}  // namespace npumoe
