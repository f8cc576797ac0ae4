// ChipProfile: limits and costs of one chip, each figure with where it comes from, and the cost
// of one launch. The planner, the simulator and the emulator use the same functions, so that
// predicted and modelled time agree.
//
// Read from chips/*.toml (units in the key names; README in that folder). Times in milliseconds,
// rates in TFLOP/s (10^12), bandwidths in GB/s (10^9), energy in joules, power in watts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "graph/validator.h"

namespace npumoe {

enum class Provenance { kMeasured, kDeclared, kAssumed };
const char* Name(Provenance provenance);  // "measured", "declared", "assumed"

// A number with its origin. `spread` is the relative half-width of its uncertainty (0.2 = ±20%).
struct Figure {
  double value = 0;
  Provenance provenance = Provenance::kAssumed;
  double spread = 0;
  std::string source;
};

// A rate that depends on how many rows one product has; linear between points, flat outside.
struct RatePoint {
  double rows = 0;
  Figure rate;
};
// `points` ascending by rows, not empty.
double RateAt(std::span<const RatePoint> points, double rows);

struct NpuCosts {
  Figure launch_ms;               // host call to completion of an empty program
  Figure sync_ms;                 // one hand-over between CPU and NPU
  std::vector<RatePoint> tflops;  // by rows (capacity) of one expert's product
  Figure stream_gb_per_s;         // weights from memory
  Figure io_gb_per_s;             // inputs and outputs of a launch
  Figure idle_w;
  Figure stream_w;   // power while bound by weight streaming, launch or copies
  Figure compute_w;  // power while bound by arithmetic
  // Whether fewer rows than the capacity cost less (false for static graphs on the ANE).
  bool cost_follows_rows = false;
  // Factor on a launch's time while the CPU works: shared memory, or shared units of one core.
  // A profile may leave it out: 1.
  Figure slowdown_beside_cpu{.value = 1, .source = "not in the profile"};
};

struct CpuCosts {
  int threads = 0;
  std::vector<RatePoint> gflops;  // by rows of one product, all threads together
  Figure bandwidth_gb_per_s;      // weights from memory
  Figure copy_gb_per_s;           // rows of fp32: norms, gather and combine of the CPU's experts
  // Gather into a launch's inputs, and the check and combine of its outputs. A profile may leave
  // them out: as copy_gb_per_s.
  std::optional<Figure> gather_gb_per_s, combine_gb_per_s;
  const Figure& Gather() const { return gather_gb_per_s ? *gather_gb_per_s : copy_gb_per_s; }
  const Figure& Combine() const { return combine_gb_per_s ? *combine_gb_per_s : copy_gb_per_s; }
  Figure active_w;
  Figure idle_w;  // whole package, nothing running
  Figure slowdown_beside_npu{.value = 1, .source = "not in the profile"};  // the other way round
};

// How NPU and CPU slow each other down while both work.
struct Overlap {
  double npu = 1;  // factors on their times, at least 1
  double cpu = 1;

  // Until both are done that begin together and take `npu_ms` and `cpu_ms` alone: the longer one
  // where neither slows the other down.
  template <class Number>
  Number ElapsedMs(Number npu_ms, Number cpu_ms) const {
    const auto n = static_cast<Number>(npu), c = static_cast<Number>(cpu);
    return cpu_ms * c >= npu_ms * n ? cpu_ms + npu_ms * (n - n / c) : npu_ms + cpu_ms * (c - c / n);
  }
};

struct NpuLimits {
  int64_t max_programs = 0;       // loaded in one process
  int64_t max_program_bytes = 0;  // weights of one program
  int64_t max_weight_file_bytes = 0;
  int64_t max_axis = 0;      // height and width of any tensor
  int64_t max_channels = 0;  // the axis before them
  int max_rank = 0;
  int64_t max_requests_in_flight = 0;
  int64_t capacity_quantum = 16;  // rows
  int64_t workers = 0;            // processes that hold programs unless asked otherwise; 0: our own
  std::vector<std::string> refused_ops;
  std::vector<std::string> refused_forms;  // graph forms that the chip does not take
  // Limits of the chip's compiler that only the validator asks for (table limits.graph, which a
  // profile may leave out). LimitsOf adds those above.
  GraphLimits graph;
};

// One entry of a profile file as it stands there: limits, counts and lists have an origin too.
struct FigureOrigin {
  std::string key;    // "npu.tflops[1]", "limits.max_programs"
  std::string value;  // as text
  Provenance provenance = Provenance::kAssumed;
  double spread = 0;
  std::string source;
  std::string literal;  // the value as a profile file writes it: 4.5, true, ["A", "B"]
  double rows = 0;      // of a point of a rate
};

struct ChipProfile {
  std::string name;         // "m2-max", the file's stem
  std::string description;  // "Apple M2 Max, ..."
  NpuCosts npu;
  CpuCosts cpu;
  NpuLimits limits;
  Figure memory_bytes;
  std::string hash;                   // of the file's bytes: plans name it
  std::string toml;                   // the file's text: what a worker process reads
  std::vector<FigureOrigin> origins;  // of every entry, in the order of the format
};

Overlap OverlapOf(const ChipProfile& profile);

// All limits that the validator asks for.
GraphLimits LimitsOf(const ChipProfile& profile);

// A path to a .toml file, or the name of a profile in one of the `search` folders, the first that
// has it. An unknown name lists the known ones.
Result<ChipProfile> LoadChipProfile(const std::string& name_or_path,
                                    const std::vector<std::filesystem::path>& search);
// The text of a profile. Unknown keys are refused, missing ones named, every figure needs a
// source. `name` becomes ChipProfile::name and starts every message.
Result<ChipProfile> ParseChipProfile(std::string_view toml, const std::string& name);
// Names (stems of *.toml) in the search folders, sorted, each once.
std::vector<std::string> ListChipProfiles(const std::vector<std::filesystem::path>& search);

// One weight-carrying piece of a program: an expert's FFN, or one convolution of it. Pieces of
// one expert may be added up: flops and bytes of its products stand in the same proportion.
struct LaunchWork {
  double rows = 0;          // capacity, or the rows that are filled (cost_follows_rows)
  double flops = 0;         // 2 * rows * weights
  double weight_bytes = 0;  // streamed once per launch
};

struct LaunchCost {
  double overhead_ms = 0;  // launch + sync
  double compute_ms = 0;   // sum over works of max(flops / rate(rows), weight_bytes / stream)
  double io_ms = 0;        // io_bytes / io bandwidth
  double energy_j = 0;     // of the NPU while it is busy, above idle
  double total_ms() const { return overhead_ms + compute_ms + io_ms; }
};

// t = launch + sync + sum max(flops / rate, weight_bytes / stream) + io_bytes / io  (planning.md 2)
LaunchCost ModelLaunch(const NpuCosts& npu, std::span<const LaunchWork> works, double io_bytes);

// max(flops / rate(rows), weight_bytes / bandwidth): one expert's FFN on the CPU.
double ModelCpuFfnMs(const CpuCosts& cpu, double rows, double flops, double weight_bytes);

}  // namespace npumoe
