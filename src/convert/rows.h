// The rows of q and k, between the order of folders and that of files whose engines turn
// neighbouring elements: row i of a head's first half and row i of its second become rows 2i and
// 2i + 1.
#pragma once

#include <functional>

#include "base/status.h"
#include "base/tensor_view.h"
#include "model/config.h"
#include "model/tensor_roles.h"

namespace npumoe {

// Whether tensors of this role change when positions turn `to` pairs instead of `from` pairs.
bool ChangesRows(TensorRole role, RopePairs from, RopePairs to);

// Calls `visit` with each head's rows in the other order, head by head. `view` is [heads *
// head_dim] or [heads * head_dim, columns]; `to`: the order that is wanted.
Status VisitReorderedHeads(const TensorView& view, int head_dim, RopePairs to,
                           const std::function<Status(const TensorView&)>& visit);

}  // namespace npumoe
