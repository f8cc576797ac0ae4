// StepBuilder: turns the operations of a graph into steps over workspace blocks. Values are held
// as fp32, rounded to fp16 after every operation that declares fp16: what the device would hold.
//
// A value may exist in two orders: row-major as declared, and "token-major", [N, spatial, C] for a
// declared [N, C, spatial]. Products want tokens as rows, so convolutions work token-major and
// chains of element-wise operations between them stay there; a conversion is inserted where an
// operation needs the other order.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/status.h"
#include "graph/arguments.h"
#include "graph/graph.h"
#include "npu/emulator/workspace.h"

namespace npumoe::emulator {

// A weight-carrying or dynamic product, for the cost model.
struct ProductWork {
  double rows = 0;  // of the static shape
  double flops_per_row = 0;
  double weight_bytes = 0;
  int input = -1;  // the one graph input that its rows come from; -1: none or several
};

class StepBuilder {
 public:
  // `graph` must outlive this. Fails (kUnsupported) for a value type that is not executed.
  static Result<StepBuilder> Create(const Graph& graph);

  const TensorSpec& Spec(const std::string& value) const;
  const Constant* ConstantOf(const std::string& value) const;  // null: computed
  // The bytes of a weight where they lie, or those that a constexpr operation made; empty for
  // anything else.
  TensorView WeightView(const std::string& value) const;
  // A scalar or list of floats that the program holds; the fallback where it is not bound.
  Result<float> ScalarFloat(const Arguments& arguments, std::string_view parameter,
                            float fallback) const;
  // A constant as fp32 that lives as long as the program.
  Result<std::span<const float>> ConstantFloats(const std::string& value);

  // Blocks of a value; the conversion step is added when that order does not exist yet.
  Result<BlockId> RowMajor(const std::string& value);
  Result<BlockId> TokenMajor(const std::string& value);
  bool IsOnlyTokenMajor(const std::string& value) const;

  BlockId Declare(const TensorSpec& result);  // row-major
  BlockId DeclareTokenMajor(const TensorSpec& result);
  // The result of a constexpr operation: memory for its values, which the caller fills.
  Result<std::span<std::byte>> DeclareMaterialised(const TensorSpec& result);
  // `result` has the elements of `value` in the same row-major order (reshape).
  void DeclareAlias(const TensorSpec& result, BlockId block);
  BlockId Scratch(int64_t elements);

  void AddStep(std::vector<BlockId> blocks, std::function<void(const Launch&)> run);
  // Rounds a result to fp16 if it is declared so.
  void AddRounding(const TensorSpec& result, BlockId block);
  void AddProduct(ProductWork work, const std::string& rows_from);
  // After an operation's steps: what its results depend on, and stores of graph outputs.
  Status FinishOperation(const Operation& operation);

  const Graph& graph() const { return *graph_; }
  const ValueTable& values() const { return values_; }

  std::vector<Step> steps;
  std::vector<Block> blocks;
  std::vector<ProductWork> products;
  double activation_bytes = 0;  // moved by what no product hides, for the cost model
  // Memory behind Block::constant.
  std::vector<std::unique_ptr<AlignedBuffer<float>>> constants;
  std::vector<std::unique_ptr<AlignedBuffer<std::byte>>> materialised;

 private:
  static constexpr int kNoInput = -1;
  static constexpr int kSeveralInputs = -2;
  struct State {
    BlockId row_major = -1;
    BlockId token_major = -1;
    int graph_input = -1;  // position among the inputs
    const std::byte* materialised = nullptr;
    int depends_on = kNoInput;  // the only input it depends on
  };
  StepBuilder() = default;
  BlockId AddBlock(int64_t elements);
  void AddLoad(const TensorSpec& spec, int input, BlockId block);
  Status AddStore(const TensorSpec& spec, int output);

  const Graph* graph_ = nullptr;
  ValueTable values_;
  std::unordered_map<std::string, State> states_;
};

// [N, C, spatial...]: batches, channels, product of the rest. Needs rank >= 2.
struct ChannelShape {
  int64_t batches = 1;
  int64_t channels = 1;
  int64_t spatial = 1;
};
ChannelShape ChannelsOf(const Shape& shape);

}  // namespace npumoe::emulator
