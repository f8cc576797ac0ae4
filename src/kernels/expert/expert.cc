// Waves of experts, three parallel regions each: pack the inputs, gate + up + activation over
// (expert, block of inner columns), down over (expert, block of outputs). A wave bounds the
// scratch; inside it experts of any size share the threads.
#include "kernels/expert/expert.h"

#include <algorithm>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "kernels/activation/activation.h"
#include "kernels/gemm/block_product.h"

namespace npumoe {
namespace {

// Packed inputs and inner activations of one wave: 32 MB of fp32 (chosen; about 1400 rows of
// Qwen3-30B-A3B), long enough that the end of a region, where threads wait, is below 1%.
constexpr int64_t kWaveFloats = int64_t{8} << 20;
// Columns of one task. Multiples of kPackQuantum, so that a task owns whole packed steps.
constexpr int64_t kColumnsPerTask = 256;
constexpr int64_t kMinColumnsPerTask = 64;
constexpr int64_t kTasksPerThread = 8;  // chosen: evens out experts of unequal size

// One expert of the wave: where its packed rows lie in the scratch.
struct Slot {
  const ExpertTask* task = nullptr;
  PackedRows in;     // packed for gate
  PackedRows in_up;  // packed for up: the same rows where both weights have one type
  PackedRows inner;
  float* packed_in = nullptr;  // where these three lie
  float* packed_in_up = nullptr;
  float* packed_inner = nullptr;
};

// One task of a region: columns [begin, end) of an expert's inner or output columns.
struct Unit {
  size_t slot = 0;
  int64_t begin = 0;
  int64_t end = 0;
  float max = 0;  // largest magnitude that it wrote
};

bool PacksOnce(const ExpertTask& task) { return task.weights.gate.dtype == task.weights.up.dtype; }

int64_t FloatsOf(const ExpertTask& task) {
  const int64_t inputs = PackedStride(task.in.columns) * (PacksOnce(task) ? 1 : 2);
  return task.in.rows * (inputs + PackedStride(task.weights.gate.shape[0]));
}

bool FitsBias(std::span<const float> bias, const TensorView& weight) {
  return bias.empty() || static_cast<int64_t>(bias.size()) == weight.shape[0];
}

void CheckShapes(const ExpertTask& task) {
  const SwiGluWeights& w = task.weights;
  NPUMOE_CHECK(w.gate.shape.rank() == 2 && w.up.shape == w.gate.shape);
  NPUMOE_CHECK((w.down.shape == Shape{w.gate.shape[1], w.gate.shape[0]}));
  NPUMOE_CHECK(task.in.columns == w.gate.shape[1] && task.out.columns == w.down.shape[0]);
  NPUMOE_CHECK(task.in.rows == task.out.rows);
  NPUMOE_CHECK(FitsBias(w.gate_bias, w.gate) && FitsBias(w.up_bias, w.up));
  NPUMOE_CHECK(FitsBias(w.down_bias, w.down) && w.clamp_limit >= 0);
}

// activation(gate, up) into gate; returns the largest magnitude.
float Activate(const SwiGluWeights& weights, std::span<const float> up, std::span<float> gate) {
  if (weights.clamp_limit == 0) return SwiGlu(up, gate);
  return ClampedSwiGlu(up, weights.clamp_limit, gate);
}

const float* DataOf(std::span<const float> bias) { return bias.empty() ? nullptr : bias.data(); }

class Wave {
 public:
  void Run(std::span<const ExpertTask> tasks, ThreadPool& pool) {
    Place(tasks);
    pool.ParallelFor(static_cast<int64_t>(slots_.size()),
                     [this](int64_t i, int) { Pack(slots_[static_cast<size_t>(i)]); });
    Cut(Side::kInner, pool.threads());
    pool.ParallelFor(static_cast<int64_t>(units_.size()),
                     [this](int64_t i, int) { RunInner(units_[static_cast<size_t>(i)]); });
    for (const Unit& unit : units_) Raise(slots_[unit.slot].task->inner_max, unit.max);
    Cut(Side::kOutput, pool.threads());
    pool.ParallelFor(static_cast<int64_t>(units_.size()),
                     [this](int64_t i, int) { RunOutput(units_[static_cast<size_t>(i)]); });
    for (const Unit& unit : units_) Raise(slots_[unit.slot].task->output_max, unit.max);
  }

 private:
  enum class Side { kInner, kOutput };

  static void Raise(float* max, float value) {
    if (max != nullptr) *max = std::max(*max, value);
  }

  static int64_t ColumnsOf(const Slot& slot, Side side) {
    const Shape& gate = slot.task->weights.gate.shape;
    return side == Side::kInner ? gate[0] : gate[1];
  }

  void Place(std::span<const ExpertTask> tasks) {
    slots_.clear();
    size_t floats = 0;
    for (const ExpertTask& task : tasks) floats += static_cast<size_t>(FloatsOf(task));
    scratch_.EnsureSize(floats);
    float* next = scratch_.data();
    const auto place = [&next](int64_t rows, int64_t columns) {
      const PackedRows packed{next, rows, columns, PackedStride(columns)};
      next += rows * packed.stride;
      return packed;
    };
    for (const ExpertTask& task : tasks) {
      Slot slot;
      slot.task = &task;
      slot.packed_in = next;
      slot.in = place(task.in.rows, task.in.columns);
      slot.packed_in_up = next;
      slot.in_up = PacksOnce(task) ? slot.in : place(task.in.rows, task.in.columns);
      slot.packed_inner = next;
      slot.inner = place(task.in.rows, task.weights.gate.shape[0]);
      slots_.push_back(slot);
      for (float* max : {task.inner_max, task.output_max}) {
        if (max != nullptr) *max = 0;
      }
    }
  }

  static void Pack(const Slot& slot) {
    const SwiGluWeights& weights = slot.task->weights;
    PackRows(slot.task->in, weights.gate.dtype, slot.packed_in, slot.in.stride);
    if (PacksOnce(*slot.task)) return;
    PackRows(slot.task->in, weights.up.dtype, slot.packed_in_up, slot.in_up.stride);
  }

  // Blocks of columns of every expert; smaller ones when there are few experts.
  void Cut(Side side, int threads) {
    int64_t columns = kColumnsPerTask;
    while (columns > kMinColumnsPerTask && CountUnits(side, columns) < kTasksPerThread * threads) {
      columns /= 2;
    }
    units_.clear();
    for (size_t i = 0; i < slots_.size(); ++i) {
      const int64_t all = ColumnsOf(slots_[i], side);
      for (int64_t begin = 0; begin < all; begin += columns) {
        units_.push_back({i, begin, std::min(begin + columns, all), 0});
      }
    }
  }

  int64_t CountUnits(Side side, int64_t columns) const {
    int64_t count = 0;
    for (const Slot& slot : slots_) count += DivideRoundUp(ColumnsOf(slot, side), columns);
    return count;
  }

  // Columns [begin, end) of act(gate x, up x), straight into the packed order of `down`.
  void RunInner(Unit& unit) {
    thread_local AlignedBuffer<float> block;
    const Slot& slot = slots_[unit.slot];
    const SwiGluWeights& weights = slot.task->weights;
    const int64_t rows = slot.in.rows;
    const int64_t columns = unit.end - unit.begin;
    block.EnsureSize(static_cast<size_t>(2 * rows * columns));
    const Matrix gate{block.data(), rows, columns, columns};
    const Matrix up{block.data() + rows * columns, rows, columns, columns};
    MultiplyBlock({slot.in, weights.gate, DataOf(weights.gate_bias), unit.begin, unit.end, gate});
    MultiplyBlock({slot.in_up, weights.up, DataOf(weights.up_bias), unit.begin, unit.end, up});
    const auto count = static_cast<size_t>(rows * columns);
    unit.max = Activate(weights, {up.data, count}, {gate.data, count});
    PackRows(gate, weights.down.dtype, slot.packed_inner + unit.begin, slot.inner.stride);
  }

  void RunOutput(Unit& unit) {
    const Slot& slot = slots_[unit.slot];
    const Matrix& all = slot.task->out;
    const int64_t columns = unit.end - unit.begin;
    const Matrix out{all.data + unit.begin, all.rows, columns, all.stride};
    const SwiGluWeights& weights = slot.task->weights;
    MultiplyBlock({slot.inner, weights.down, DataOf(weights.down_bias), unit.begin, unit.end, out});
    if (slot.task->output_max == nullptr) return;
    for (int64_t r = 0; r < out.rows; ++r) {
      const std::span<const float> row(out.Row(r), static_cast<size_t>(columns));
      unit.max = std::max(unit.max, MaxMagnitude(row));
    }
  }

  AlignedBuffer<float> scratch_;
  std::vector<Slot> slots_;
  std::vector<Unit> units_;
};

}  // namespace

void RunExperts(std::span<const ExpertTask> tasks, ThreadPool& pool) {
  thread_local Wave wave;  // its scratch serves every call of this thread
  size_t begin = 0;
  while (begin < tasks.size()) {
    int64_t floats = 0;
    size_t end = begin;
    do {
      CheckShapes(tasks[end]);
      floats += FloatsOf(tasks[end++]);
    } while (end < tasks.size() && floats + FloatsOf(tasks[end]) <= kWaveFloats);
    wave.Run(tasks.subspan(begin, end - begin), pool);
    begin = end;
  }
}

}  // namespace npumoe
