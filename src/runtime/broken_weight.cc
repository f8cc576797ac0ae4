#include "runtime/broken_weight.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/convert/convert.h"

namespace npumoe {
namespace {

struct NamedTensor {
  std::string name;
  const TensorView* tensor = nullptr;
};

// In the order of computation; empty tensors are left out.
class TensorList {
 public:
  void Add(std::string name, const TensorView& tensor) {
    if (!tensor.empty()) tensors_.push_back({std::move(name), &tensor});
  }
  void AddFfn(const std::string& name, const FfnWeights& ffn) {
    Add(name + ", gate", ffn.gate);
    Add(name + ", gate bias", ffn.gate_bias);
    Add(name + ", up", ffn.up);
    Add(name + ", up bias", ffn.up_bias);
    Add(name + ", down", ffn.down);
    Add(name + ", down bias", ffn.down_bias);
  }
  void AddAttention(const std::string& name, const AttentionWeights& attention);
  void AddLayer(const std::string& name, const LayerWeights& layer);
  const std::vector<NamedTensor>& tensors() const { return tensors_; }

 private:
  std::vector<NamedTensor> tensors_;
};

void TensorList::AddAttention(const std::string& name, const AttentionWeights& attention) {
  Add(name + ", q", attention.q);
  Add(name + ", q bias", attention.q_bias);
  Add(name + ", k", attention.k);
  Add(name + ", k bias", attention.k_bias);
  Add(name + ", v", attention.v);
  Add(name + ", v bias", attention.v_bias);
  Add(name + ", q norm", attention.q_norm);
  Add(name + ", k norm", attention.k_norm);
  Add(name + ", q_a", attention.latent.q_a);
  Add(name + ", q_a norm", attention.latent.q_a_norm);
  Add(name + ", q_b", attention.latent.q_b);
  Add(name + ", kv_a", attention.latent.kv_a);
  Add(name + ", kv_a norm", attention.latent.kv_a_norm);
  Add(name + ", kv_b", attention.latent.kv_b);
  Add(name + ", sinks", attention.sinks);
  Add(name + ", output", attention.o);
  Add(name + ", output bias", attention.o_bias);
}

void TensorList::AddLayer(const std::string& name, const LayerWeights& layer) {
  Add(name + ", attention norm", layer.attention_norm);
  Add(name + ", attention norm bias", layer.attention_norm_bias);
  AddAttention(name + ", attention", layer.attention);
  Add(name + ", FFN norm", layer.ffn_norm);
  Add(name + ", FFN norm bias", layer.ffn_norm_bias);
  Add(name + ", router", layer.router);
  Add(name + ", router bias", layer.router_bias);
  Add(name + ", shared expert's gate", layer.shared_gate);
  // The router has a row for each routed expert; the shared one is behind them.
  const size_t routed = layer.router.empty() ? 0 : static_cast<size_t>(layer.router.shape[0]);
  for (size_t e = 0; e < layer.experts.size(); ++e) {
    AddFfn(name + (e < routed ? fmt::format(", expert {}", e) : ", shared expert"),
           layer.experts[e]);
  }
  AddFfn(name + ", dense FFN", layer.dense);
}

// The matrix's rows, or the vector as one; quantised rows are whole blocks.
struct RowsOf {
  explicit RowsOf(const TensorView& tensor)
      : columns(tensor.shape[tensor.shape.rank() - 1]), rows(tensor.shape.elements() / columns) {}
  int64_t columns;
  int64_t rows;
};

void ReadRow(const TensorView& tensor, int64_t row, std::vector<float>& values) {
  const int64_t columns = RowsOf(tensor).columns;
  values.resize(static_cast<size_t>(columns));
  ToF32(tensor, row * columns, values);
}

// The first row that is not finite; none: the number of rows.
int64_t FirstBrokenRow(const TensorView& tensor, ThreadPool& pool) {
  const int64_t rows = RowsOf(tensor).rows;
  std::atomic<int64_t> first = rows;
  pool.ParallelRanges(rows, 1, [&](int64_t begin, int64_t end, int) {
    std::vector<float> values;
    for (int64_t row = begin; row < std::min(end, first.load()); ++row) {
      ReadRow(tensor, row, values);
      if (AllFinite(values)) continue;
      int64_t known = first.load();
      while (row < known && !first.compare_exchange_weak(known, row)) {
      }
    }
  });
  return first;
}

std::string Describe(const NamedTensor& named, int64_t row) {
  std::vector<float> values;
  ReadRow(*named.tensor, row, values);
  const auto found = std::find_if_not(values.begin(), values.end(),
                                      [](float value) { return std::isfinite(value); });
  const auto column = found - values.begin();
  const std::string place = named.tensor->shape.rank() == 1 ? fmt::format("[{}]", column)
                                                            : fmt::format("[{}, {}]", row, column);
  return fmt::format("{}: element {} is {}", named.name, place, *found);
}

}  // namespace

std::optional<std::string> FindBrokenWeight(const ModelWeights& weights,
                                            const SearchedWeights& searched, ThreadPool& pool) {
  TensorList list;
  list.Add("embedding", weights.embedding);
  for (int layer = 0; layer < searched.layers; ++layer) {
    list.AddLayer(fmt::format("layer {}", layer), weights.layers[static_cast<size_t>(layer)]);
  }
  if (searched.with_head) {
    list.Add("final norm", weights.final_norm);
    list.Add("final norm bias", weights.final_norm_bias);
    list.Add("head", weights.lm_head);
    list.Add("head bias", weights.lm_head_bias);
  }
  for (const NamedTensor& named : list.tensors()) {
    const int64_t row = FirstBrokenRow(*named.tensor, pool);
    if (row < RowsOf(*named.tensor).rows) return Describe(named, row);
  }
  return std::nullopt;
}

}  // namespace npumoe
