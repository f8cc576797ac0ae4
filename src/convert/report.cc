#include "convert/report.h"

#include <algorithm>

#include "convert/tensor_kinds.h"

namespace npumoe {

void ConvertReport::Count(const TypePolicy& policy, const TypedTensor& tensor,
                          const TypeChoice& choice) {
  if (IsLossy(tensor.type, choice.type)) {
    const auto same = [&](const LossyChange& change) {
      return change.from == tensor.type && change.to == choice.type;
    };
    auto found = std::ranges::find_if(lossy, same);
    if (found == lossy.end()) found = lossy.insert(found, {tensor.type, choice.type, 0});
    ++found->tensors;
  }
  if (choice.cause == TypeCause::kAsAsked) return;
  // What a folder cannot hold nobody asked for by name.
  const DType wanted = choice.cause == TypeCause::kPlainFile ? tensor.type : policy.wanted;
  const TypeFallback row = {KindOf(tensor.role), wanted, choice.type, choice.why, 0};
  const auto same = [&](const TypeFallback& f) {
    return f.weights == row.weights && f.wanted == row.wanted && f.used == row.used &&
           f.reason == row.reason;
  };
  auto found = std::ranges::find_if(fallbacks, same);
  if (found == fallbacks.end()) found = fallbacks.insert(found, row);
  ++found->tensors;
}

}  // namespace npumoe
