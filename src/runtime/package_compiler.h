// Package compiler: writes the packages that a plan needs into a cache folder and finds them
// again. Owns file names, reuse, and safety against interruption and other processes; the bytes
// of a package are graph/mlpackage's, the graphs are plan/lowering's.
//
// A package is named by its content address, CACHE/<ProgramKey>.mlpackage, and appears there by
// one rename of a whole folder, so whatever stands under that name is complete. Work in progress
// lies in CACHE/.staging-*; the folder of a compile that died is removed by the next one. Two
// processes may compile into one cache at once: the first rename wins, the other one reuses it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/model.h"
#include "npu/profile.h"
#include "plan/plan.h"

namespace npumoe {

struct CompiledProgram {
  ProgramId id;
  std::filesystem::path package;
  std::string function = "main";  // the largest one; the smaller ones follow it (plan/lowering.h)
  std::string key;                // ProgramKey
};

struct CompileReport {
  std::vector<CompiledProgram> programs;  // every program of the plan, in its order
  int64_t written = 0;
  int64_t reused = 0;
  int64_t bytes_written = 0;  // of weight files
  int64_t bytes_total = 0;    // of all packages of the plan
  // What rounding to the plan's weight format costs: |stored - model's| / |model's| (root of the
  // sums of squares) of the worst matrix that was written; 0 where nothing is rounded.
  double largest_weight_error = 0;
};

struct CompileProgress {
  int64_t done = 0;  // programs, in the order in which they are finished
  int64_t total = 0;
  const CompiledProgram* program = nullptr;  // the one just finished
  bool reused = false;
};

// What CompilePlan asks before it writes a program of so many functions: ok, or the rules that one
// of them breaks (kUnsupported).
Status CheckProgramLimits(const Graph& graph, int64_t functions, const ChipProfile& profile);
// The same of the form of an expert program.
Status CheckForm(GraphForm form, const ChipProfile& profile);

// Fails when a graph breaks a limit of the chip (kUnsupported: rule, layer, program), when the
// disk is full, when a weight does not fit fp16. What was written before stays and is reused.
// A package that is present but unreadable (corrupt, truncated, another key) is written again.
// A few programs are compiled at once, each reading its weights as it writes them: memory stays
// below one program's weights. `progress` is called by one thread at a time, not always the same.
Result<CompileReport> CompilePlan(const Plan& plan, const Model& model, const ChipProfile& profile,
                                  const std::filesystem::path& cache_dir,
                                  const std::function<void(const CompileProgress&)>& progress = {});

// The packages of a plan without writing any: kNotFound names the first that is missing and says
// to compile. Contents are checked when they are loaded.
Result<std::vector<CompiledProgram>> FindCompiled(const Plan& plan,
                                                  const std::filesystem::path& cache_dir);

}  // namespace npumoe
