#include "runtime/measured_programs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/dtype.h"
#include "graph/builder.h"
#include "graph/expert_program.h"
#include "graph/mlpackage.h"

namespace npumoe {
namespace {

constexpr double kFp16Bytes = 2;
constexpr int64_t kEmptyChannels = 64;  // of the program that is nearly nothing but its launch
constexpr int64_t kEmptyRows = 16;

// Random fp16 numbers of magnitude 2^-5 to 2^-4 and either sign: sums of thousands stay near 1, and
// none is so small that arithmetic with it takes another path.
class RandomHalves {
 public:
  explicit RandomHalves(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint16_t Next() {
    constexpr uint16_t kSignAndFraction = 0x83ff;
    constexpr uint16_t kExponent = 10 << 10;
    state_ ^= state_ << 13;  // xorshift64 (Marsaglia)
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint16_t>((state_ >> 32) & kSignAndFraction) | kExponent;
  }

 private:
  uint64_t state_;
};

void FillWithHalves(uint64_t seed, std::span<std::byte> bytes) {
  RandomHalves random(seed);
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    const uint16_t half = random.Next();
    std::memcpy(&bytes[i], &half, sizeof half);
  }
}

WeightMatrix RandomMatrix(uint64_t seed) {
  WeightMatrix matrix;
  matrix.values.produce = [seed](std::span<std::byte> bytes) {
    FillWithHalves(seed, bytes);
    return OkStatus();
  };
  return matrix;
}

std::string RowsFunction(int64_t rows) { return fmt::format("rows_{}", rows); }

// One function for each number of rows, all with the same weights.
Result<std::vector<Graph>> ExpertFunctions(const ProgramGrid& grid, int64_t experts) {
  std::vector<Graph> functions;
  for (const int64_t rows : grid.rows) {
    std::vector<ExpertSlot> slots;
    for (int64_t e = 0; e < experts; ++e) {
      ExpertSlot slot;
      slot.expert = static_cast<int>(e);
      slot.capacity = rows;
      const auto seed = static_cast<uint64_t>(3 * (e + 1000 * experts));
      slot.gate = RandomMatrix(seed);
      slot.up = RandomMatrix(seed + 1);
      slot.down = RandomMatrix(seed + 2);
      slots.push_back(std::move(slot));
    }
    NPUMOE_ASSIGN_OR_RETURN(
        Graph graph,
        BuildExpertGraph(GraphForm::kDenseChains, {grid.shape.hidden, grid.shape.intermediate},
                         slots, RowsFunction(rows)));
    functions.push_back(std::move(graph));
  }
  return functions;
}

// Nothing but a clip that changes nothing.
Result<Graph> CopyFunction(int64_t channels, int64_t rows) {
  constexpr float kFar = 60000;  // within fp16
  GraphBuilder builder("main");
  const auto x = builder.Input("x", DType::kF16, Shape{1, channels, 1, rows});
  builder.Output(builder.Clip("y", x, -kFar, kFar));
  return std::move(builder).Finish();
}

class Loader {
 public:
  Loader(Device& device, const ProgramGrid& grid, std::filesystem::path folder,
         const MeasureProgress& progress)
      : device_(device), grid_(grid), folder_(std::move(folder)), progress_(progress) {}

  Status LoadExperts(int64_t experts) {
    NPUMOE_ASSIGN_OR_RETURN(const std::vector<Graph> functions, ExpertFunctions(grid_, experts));
    const auto package = folder_ / fmt::format("experts-{}.mlpackage", experts);
    NPUMOE_RETURN_IF_ERROR(WriteMlpackage(package, functions, {"measured experts", {}}));
    for (const int64_t rows : grid_.rows) {
      TimedWork work;
      work.what = fmt::format("{} expert{}, {} rows", experts, experts == 1 ? "" : "s", rows);
      work.rows = static_cast<double>(rows);
      work.weights = static_cast<double>(experts * grid_.shape.Weights());
      work.weight_bytes = work.weights * kFp16Bytes;
      work.io_bytes = 2 * kFp16Bytes * static_cast<double>(experts * rows * grid_.shape.hidden);
      NPUMOE_RETURN_IF_ERROR(Add(package, RowsFunction(rows), std::move(work)));
    }
    return OkStatus();
  }

  Status LoadCopy(int64_t channels, int64_t rows) {
    NPUMOE_ASSIGN_OR_RETURN(const Graph graph, CopyFunction(channels, rows));
    const auto package = folder_ / fmt::format("copy-{}x{}.mlpackage", channels, rows);
    NPUMOE_RETURN_IF_ERROR(WriteMlpackage(package, {&graph, 1}, {"measured copy", {}}));
    TimedWork work;
    work.what = fmt::format("copy of {} x {}", channels, rows);
    work.io_bytes = 2 * kFp16Bytes * static_cast<double>(channels * rows);
    return Add(package, "main", std::move(work));
  }

  MeasuredPrograms Take() { return std::move(result_); }

 private:
  Status Add(const std::filesystem::path& package, const std::string& function, TimedWork work) {
    const std::string what = work.what;
    auto program = MeasuredProgram::Load(device_, package, function, std::move(work));
    const size_t all = 1 + grid_.copied_rows.size() + grid_.experts.size() * grid_.rows.size();
    if (progress_) progress_(++done_, static_cast<int64_t>(all));
    if (program.ok()) {
      result_.programs.push_back(*std::move(program));
      return OkStatus();
    }
    const Status& failure = program.status();
    const bool refused = failure.code() == StatusCode::kUnsupported ||
                         failure.code() == StatusCode::kResourceExhausted;
    if (!refused) return failure.WithContext(what);
    result_.refused.push_back(fmt::format("{}: {}", what, failure.message()));
    return OkStatus();
  }

  Device& device_;
  const ProgramGrid& grid_;
  std::filesystem::path folder_;
  const MeasureProgress& progress_;
  int64_t done_ = 0;
  MeasuredPrograms result_;
};

}  // namespace

ProgramGrid MakeProgramGrid(const ExpertShape& shape, int64_t experts, int64_t max_rows) {
  ProgramGrid grid;
  grid.shape = shape;
  // Close enough that rates between two points hardly bend, powers of two and what lies between.
  for (const int64_t rows : {16, 32, 48, 64, 96, 128, 192, 256, 512, 1024}) {
    if (rows <= max_rows) grid.rows.push_back(rows);
  }
  grid.experts = {experts / 2, experts};
  grid.copied_rows = {max_rows / 2, max_rows};
  return grid;
}

Result<std::unique_ptr<MeasuredProgram>> MeasuredProgram::Load(Device& device,
                                                               const std::filesystem::path& package,
                                                               const std::string& function,
                                                               TimedWork work) {
  std::unique_ptr<MeasuredProgram> measured(new MeasuredProgram);
  measured->work_ = std::move(work);
  NPUMOE_ASSIGN_OR_RETURN(measured->program_, device.Load(package, function));
  const auto allocate = [&](const std::vector<TensorSpec>& specs,
                            std::vector<DeviceBuffer*>& pointers) -> Status {
    for (const TensorSpec& spec : specs) {
      NPUMOE_ASSIGN_OR_RETURN(auto buffer, measured->program_->Allocate(spec));
      FillWithHalves(measured->buffers_.size(), buffer->bytes());
      pointers.push_back(buffer.get());
      measured->buffers_.push_back(std::move(buffer));
    }
    return OkStatus();
  };
  NPUMOE_RETURN_IF_ERROR(allocate(measured->program_->inputs(), measured->inputs_));
  NPUMOE_RETURN_IF_ERROR(allocate(measured->program_->outputs(), measured->outputs_));
  return measured;
}

Result<RequestId> MeasuredProgram::Submit(Device& device, int rows) {
  rows_.assign(rows > 0 ? inputs_.size() : 0, rows);
  return device.Submit({program_.get(), inputs_, outputs_, rows_});
}

Result<MeasuredPrograms> LoadPrograms(Device& device, const ProgramGrid& grid,
                                      const std::filesystem::path& folder,
                                      const MeasureProgress& progress) {
  Loader loader(device, grid, folder, progress);
  NPUMOE_RETURN_IF_ERROR(loader.LoadCopy(kEmptyChannels, kEmptyRows));
  for (const int64_t rows : grid.copied_rows) {
    NPUMOE_RETURN_IF_ERROR(loader.LoadCopy(grid.shape.hidden, rows));
  }
  for (const int64_t experts : grid.experts) {
    NPUMOE_RETURN_IF_ERROR(loader.LoadExperts(experts));
  }
  return loader.Take();
}

}  // namespace npumoe
