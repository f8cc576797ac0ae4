#include "runtime/finite_check.h"

#include <fmt/format.h>

#include <atomic>
#include <optional>
#include <string>

#include "kernels/activation/activation.h"
#include "runtime/broken_weight.h"

namespace npumoe {
namespace {

// Below this many numbers one thread is done before another one has woken up (chosen).
constexpr int64_t kMinParallelFloats = 1 << 16;

bool IsFinite(const LayerContext& context, ConstMatrix values) {
  const int64_t count = values.rows * values.columns;
  if (count < kMinParallelFloats) return AllFinite({values.data, static_cast<size_t>(count)});
  std::atomic<bool> finite = true;
  context.pool.ParallelRanges(values.rows, 1, [&](int64_t begin, int64_t end, int) {
    const auto size = static_cast<size_t>((end - begin) * values.columns);
    if (!AllFinite({values.Row(begin), size})) finite = false;
  });
  return finite;
}

int64_t FirstBrokenRow(ConstMatrix values) {
  int64_t row = 0;
  while (AllFinite({values.Row(row), static_cast<size_t>(values.columns)})) ++row;
  return row;
}

std::string NameOf(const FinitePlace& place) {
  switch (place.what) {
    case FiniteValues::kRouterLogits:
      return fmt::format("the router's logits in layer {}", place.layer);
    case FiniteValues::kResidual:
      return fmt::format("the hidden states after layer {}", place.layer);
    case FiniteValues::kLogits:
      return fmt::format("the logits after layer {}", place.layer);
  }
  return "";
}

// What is to be done about it.
std::string Advice(const std::optional<std::string>& weight) {
  if (weight) return *weight + "; the file is damaged or was converted badly: get it again";
  return "no weight up to there is NaN or infinite, so a sum left the range of 32-bit floats: the "
         "weights are damaged or do not belong to this config; get the model again";
}

}  // namespace

Status CheckFinite(LayerContext& context, ConstMatrix values, const FinitePlace& place) {
  NPUMOE_CHECK(values.stride == values.columns);
  if (IsFinite(context, values)) return OkStatus();
  const int64_t row = FirstBrokenRow(values);
  const bool with_head = place.what == FiniteValues::kLogits;
  const auto weight =
      FindBrokenWeight(context.model.weights, {place.layer + 1, with_head}, context.pool);
  return Status(
      StatusCode::kNumeric,
      fmt::format("{}: {} are not finite numbers (first seen at token {} of the context): {}",
                  context.model.path.string(), NameOf(place), place.position + row,
                  Advice(weight)));
}

}  // namespace npumoe
