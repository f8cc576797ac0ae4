// Graphs, weights and folders for the tests of this room. Everything follows from fixed seeds.
#pragma once

#include <stdlib.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "graph/builder.h"
#include "graph/expert_program.h"
#include "graph/graph.h"

namespace npumoe::testing {

// A folder of its own, removed at the end.
class ScratchFolder {
 public:
  ScratchFolder() {
    // In memory where there is such a folder: these tests write thousands of small files.
    std::error_code ignored;
    const bool in_memory = std::filesystem::is_directory("/dev/shm", ignored);
    const std::filesystem::path parent =
        in_memory ? "/dev/shm" : std::filesystem::temp_directory_path();
    std::string name = (parent / "npumoe-graph-XXXXXX").string();
    NPUMOE_CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// fp16 values of magnitude up to `scale`, made when asked for.
inline WeightData RandomHalves(uint32_t seed, float scale) {
  return {{}, [seed, scale](std::span<std::byte> bytes) {
            std::mt19937 random(seed);
            for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
              // 2^-31 maps the top 32 bits to [-1, 1); no distribution, whose values vary by
              // library
              const float unit = static_cast<float>(random()) * 0x1p-31f - 1.0f;
              const uint16_t bits = F16FromF32(unit * scale);
              std::memcpy(&bytes[i], &bits, sizeof bits);
            }
            return OkStatus();
          }};
}

struct ExpertSizes {
  int64_t hidden = 0;
  int64_t intermediate = 0;
};

// One slot a capacity; expert ids 3, 10, 17, ... so that positions and ids differ.
inline std::vector<ExpertSlot> RandomSlots(ExpertSizes sizes,
                                           const std::vector<int64_t>& capacities) {
  std::vector<ExpertSlot> slots;
  const float inward = 1.0f / std::sqrt(static_cast<float>(sizes.hidden));
  const float outward = 1.0f / std::sqrt(static_cast<float>(sizes.intermediate));
  for (size_t i = 0; i < capacities.size(); ++i) {
    const auto expert = static_cast<int>(3 + 7 * i);
    const auto seed = static_cast<uint32_t>(100 * expert);
    slots.push_back({expert, capacities[i], RandomHalves(seed, inward),
                     RandomHalves(seed + 1, inward), RandomHalves(seed + 2, outward)});
  }
  return slots;
}

inline Graph ExpertGraph(GraphForm form, ExpertSizes sizes, const std::vector<int64_t>& capacities,
                         const std::string& name = "main") {
  Result<Graph> graph = BuildExpertGraph(form, {sizes.hidden, sizes.intermediate},
                                         RandomSlots(sizes, capacities), name);
  NPUMOE_CHECK(graph.ok());
  return *std::move(graph);
}

// A graph that contains every operation the builder has: two inputs, three outputs.
inline Graph EveryOperation() {
  using Value = GraphBuilder::Value;
  GraphBuilder b("main");
  const Value x = b.Input("x", DType::kF16, Shape{1, 6, 1, 8});
  const Value rows = b.Input("rows", DType::kF16, Shape{2, 4, 6});
  const Value bias = b.Weight("bias", DType::kF16, Shape{4}, RandomHalves(1, 0.5f));
  const Value conv = b.Conv(
      "conv", x, b.Weight("w", DType::kF16, Shape{4, 3, 1, 1}, RandomHalves(2, 0.5f)), {2, bias});
  const Value clipped = b.Clip("clipped", conv, -2.5f, 2.5f);
  const Value centred = b.Sub("centred", clipped, b.Floats("c", DType::kF16, {}, {0.1f}));
  const Value safe = b.Add("safe", b.Abs("abs", centred), b.Floats("one", DType::kF16, {}, {1.0f}));
  const Value squares = b.ReduceMean("mean", b.Square("square", centred), {1}, ReducedAxes::kKept);
  const Value normed = b.Mul("normed", centred, b.Rsqrt("rsqrt", squares, 1e-3f));
  const Value divided = b.RealDiv("divided", normed, b.Sqrt("sqrt", safe));
  const Value gated = b.Mul("gated", b.Silu("silu", divided), b.Sigmoid("sigmoid", normed));
  const Value peak = b.Maximum("peak", gated, b.Exp("exp", centred));
  const std::vector<Value> parts = b.Split("parts", peak, {1, 3}, 1);
  const Value joined = b.Concat("joined", {parts[1], parts[0]}, 1);
  const Value window = b.Slice("window", joined, {0, 1, 0, 2}, {1, 3, 1, 8});
  const Value flat = b.Squeeze("flat", window, {2});
  b.Output(b.Transpose("turned", flat, {0, 2, 1}));

  const Value w2 = b.Weight("w2", DType::kF16, Shape{5, 6}, RandomHalves(3, 0.5f));
  const Value linear = b.Linear("linear", rows, w2, std::nullopt);
  const Value scores = b.MatMul("scores", linear, Operand::kAsIs, linear, Operand::kTransposed);
  const Value weights = b.Softmax("weights", scores, -1);
  const Value mixed = b.MatMul("mixed", weights, Operand::kTransposed, linear, Operand::kAsIs);
  GraphBuilder::LayerNormOptions norm;
  norm.axes = {2};
  norm.gamma = b.Weight("gamma", DType::kF16, Shape{5}, RandomHalves(4, 1.0f));
  norm.beta = b.Weight("beta", DType::kF16, Shape{5}, RandomHalves(5, 0.5f));
  const Value layer = b.LayerNorm("layer", mixed, norm);
  b.Output(b.ExpandDims("wide", b.Reshape("reshaped", layer, {5, -1}), {0}));

  const Value sums = b.ReduceSum("sums", layer, {-1}, ReducedAxes::kDropped);
  const Value top = b.ReduceMax("top", sums, {0, 1}, ReducedAxes::kKept);
  b.Output(b.Cast("top32", top, DType::kF32));
  Result<Graph> graph = std::move(b).Finish();
  NPUMOE_CHECK(graph.ok());
  return *std::move(graph);
}

}  // namespace npumoe::testing
