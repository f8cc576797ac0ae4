// MatrixSource: a weight matrix [out, in] as rows of fp32, read as often as needed, so that nobody
// has to hold it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "base/status.h"
#include "base/tensor_view.h"

namespace npumoe {

struct MatrixSource {
  int64_t out = 0;
  int64_t in = 0;
  std::string what;  // names the matrix in messages
  // Rows [first, first + rows.size() / in).
  std::function<Status(int64_t first, std::span<float> rows)> read;
};

// `matrix` [out, in] is F32, F16, BF16 or quantised; it must outlive the source.
Result<MatrixSource> SourceOf(const TensorView& matrix, const std::string& what);

// Calls visit(first, rows) for all rows in order, some at a time.
Status ForEachRows(const MatrixSource& source,
                   const std::function<Status(int64_t first, std::span<const float> rows)>& visit);

}  // namespace npumoe
