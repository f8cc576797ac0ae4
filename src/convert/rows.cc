#include "convert/rows.h"

#include <cstring>
#include <vector>

namespace npumoe {

bool ChangesRows(TensorRole role, RopePairs from, RopePairs to) {
  const bool turns = role == TensorRole::kQ || role == TensorRole::kK ||
                     role == TensorRole::kQBias || role == TensorRole::kKBias;
  return turns && from != to;
}

Status VisitReorderedHeads(const TensorView& view, int head_dim, RopePairs to,
                           const std::function<Status(const TensorView&)>& visit) {
  const int64_t columns = view.shape.rank() == 1 ? 1 : view.shape[1];
  const size_t row_bytes = BytesOf(view.dtype, columns);
  const int64_t half = head_dim / 2;
  std::vector<std::byte> head(static_cast<size_t>(head_dim) * row_bytes);
  const Shape shape = view.shape.rank() == 1 ? Shape({head_dim}) : Shape({head_dim, columns});
  for (int64_t first = 0; first < view.shape[0]; first += head_dim) {
    for (int64_t row = 0; row < head_dim; ++row) {
      const int64_t interleaved = row < half ? 2 * row : 2 * (row - half) + 1;
      const int64_t target = to == RopePairs::kInterleaved ? interleaved : row;
      const int64_t source = to == RopePairs::kInterleaved ? row : interleaved;
      std::memcpy(head.data() + static_cast<size_t>(target) * row_bytes,
                  view.data + static_cast<size_t>(first + source) * row_bytes, row_bytes);
    }
    NPUMOE_RETURN_IF_ERROR(visit({view.dtype, shape, head.data()}));
  }
  return OkStatus();
}

}  // namespace npumoe
