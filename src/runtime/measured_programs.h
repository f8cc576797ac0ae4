// The programs that a profile is measured with: copies without arithmetic (what a launch costs,
// and its inputs and outputs) and experts with random weights over a grid of rows (rates, and the
// stream of weights). Owns their packages, loaded programs and buffers, and one launch of each.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/device.h"
#include "npu/profile_fit.h"

namespace npumoe {

using MeasureProgress = std::function<void(int64_t done, int64_t total)>;

struct ExpertShape {
  int64_t hidden = 2048;  // Qwen3-30B-A3B
  int64_t intermediate = 768;
  int64_t Weights() const { return 3 * hidden * intermediate; }
};

struct ProgramGrid {
  ExpertShape shape;
  std::vector<int64_t> rows;         // capacities of experts, ascending
  std::vector<int64_t> experts;      // numbers of experts in a program
  std::vector<int64_t> copied_rows;  // of programs that copy [1, hidden, 1, rows]
};
// Rows 16 to `max_rows`, programs of `experts` experts and of half as many.
ProgramGrid MakeProgramGrid(const ExpertShape& shape, int64_t experts, int64_t max_rows);

// One loaded program of the grid.
class MeasuredProgram {
 public:
  // Loads function `function` of a package. `work` has no time yet.
  static Result<std::unique_ptr<MeasuredProgram>> Load(Device& device,
                                                       const std::filesystem::path& package,
                                                       const std::string& function, TimedWork work);
  const TimedWork& work() const { return work_; }
  // `rows` of each expert are filled; 0: all.
  Result<RequestId> Submit(Device& device, int rows = 0);

 private:
  MeasuredProgram() = default;
  TimedWork work_;
  std::unique_ptr<Program> program_;
  std::vector<std::unique_ptr<DeviceBuffer>> buffers_;  // before the program's end
  std::vector<DeviceBuffer*> inputs_, outputs_;
  std::vector<int> rows_;
};

struct MeasuredPrograms {
  std::vector<std::unique_ptr<MeasuredProgram>> programs;
  std::vector<std::string> refused;  // what the device does not take, and why
};
// Writes the packages into `folder` and loads all of them. A program that the device refuses is
// left out; other failures are errors.
Result<MeasuredPrograms> LoadPrograms(Device& device, const ProgramGrid& grid,
                                      const std::filesystem::path& folder,
                                      const MeasureProgress& progress);

}  // namespace npumoe
