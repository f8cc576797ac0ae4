// Plan: what `npumoe plan` decides and everything after it obeys. Chunk length, per MoE layer the
// programs with their experts and capacities; experts in no program are CPU work. Pure data.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "graph/expert_program.h"
#include "graph/weight_format.h"
#include "model/config.h"
#include "npu/profile.h"

namespace npumoe {

enum class Strategy { kCpu, kNaive, kBase, kTiers, kTiersGroups, kPaper, kOptimal };
const char* Name(Strategy strategy);  // "cpu", "naive", "base", "tiers", "tiers+groups", ...
Result<Strategy> ParseStrategy(std::string_view text);
std::vector<Strategy> AllStrategies();

enum class Objective { kLatency, kEnergy, kCpuTime };
const char* Name(Objective objective);
Result<Objective> ParseObjective(std::string_view text);

enum class OverflowMode { kSpill, kDrop };
const char* Name(OverflowMode mode);
Result<OverflowMode> ParseOverflowMode(std::string_view text);

struct PlannedExpert {
  int expert = 0;        // Plan::num_experts is the shared one
  int64_t capacity = 0;  // rows per chunk, a multiple of the profile's quantum
};

struct PlannedProgram {
  GraphForm form = GraphForm::kDenseChains;
  std::vector<PlannedExpert> experts;
  // Smaller buckets: functions of the same package with these capacities, in the order of
  // `experts`; ascending, none above the next. A launch takes the first that holds its rows.
  std::vector<std::vector<int64_t>> smaller_buckets = {};

  int64_t CapacityRows() const;
  // All of them, the planned capacities last.
  std::vector<std::vector<int64_t>> Buckets() const;
  // Each bucket is a function, and each function a loaded program.
  int64_t FunctionCount() const { return static_cast<int64_t>(smaller_buckets.size()) + 1; }
};

// The first bucket that holds all `rows_of(i)`: of the experts' rows, those within the planned
// capacities. The last one always does.
template <class RowsOf>
size_t SmallestBucket(const std::vector<std::vector<int64_t>>& buckets, RowsOf rows_of) {
  for (size_t b = 0; b + 1 < buckets.size(); ++b) {
    bool holds = true;
    for (size_t i = 0; i < buckets[b].size() && holds; ++i) holds = rows_of(i) <= buckets[b][i];
    if (holds) return b;
  }
  return buckets.size() - 1;
}

struct LayerPlan {
  int layer = 0;
  std::vector<PlannedProgram> programs;  // empty: the whole layer is CPU work
};

// Attention of some layers as NPU programs (graph/attention_program.h): a package for each of them,
// with a function for each history length.
struct AttentionPlan {
  std::vector<int> layers;              // ascending; empty: attention is CPU work
  std::vector<int64_t> history_tokens;  // ascending, from 0

  bool Has(int layer) const;
  // The function with the shortest history that holds `tokens`; none: a chunk behind so many is
  // CPU work.
  std::optional<size_t> FunctionFor(int64_t tokens) const;
};

// The vocabulary head as an NPU program (graph/head_program.h): one package, with a function for
// each number of rows.
struct HeadPlan {
  std::vector<int64_t> rows;  // ascending; empty: the head is CPU work
  int64_t slice_entries = 0;  // of the vocabulary in one output, at most

  // The function with the fewest rows that holds `wanted`, or the largest one, launched repeatedly.
  size_t FunctionFor(int64_t wanted) const;
};

// A prediction and the half-width of its uncertainty, from the spread of the profile's figures.
struct Estimate {
  double value = 0;
  double spread = 0;
};

// Predicted for one prompt of `prompt_tokens` (modelled, profile's CPU and NPU).
struct Prediction {
  int64_t prompt_tokens = 0;
  Estimate time_ms;  // MoE part and everything else of prefill
  Estimate energy_j;
  Estimate cpu_busy_ms;
  Estimate npu_busy_ms;
  int64_t launches = 0;
  double padding = 0;    // empty rows / capacity rows
  double spill = 0;      // overflow assignments / all assignments
  double npu_share = 0;  // assignments computed on the NPU / all assignments
  int64_t npu_weight_bytes = 0;
  int64_t io_bytes = 0;  // largest buffers in flight
};

struct Plan {
  static constexpr int kVersion = 3;
  Strategy strategy = Strategy::kOptimal;
  Objective objective = Objective::kLatency;
  OverflowMode overflow = OverflowMode::kSpill;
  double min_npu_share = 0;
  WeightFormat weight_format = WeightFormat::kF16;        // of the experts' matrices in programs
  WeightFormat dense_weight_format = WeightFormat::kF16;  // of attention's and the head's
  int chunk_tokens = 0;
  int hidden_size = 0;
  int expert_intermediate_size = 0;
  int num_experts = 0;               // routed
  int experts_per_token = 0;         // routed
  int shared_intermediate_size = 0;  // 0: no shared expert
  double activation_limit = 0;       // of the clamped activation; 0: silu(gate) * up
  std::string model_hash;
  std::string calibration_hash;
  std::string profile_name;
  std::string profile_hash;
  std::vector<LayerPlan> layers;  // every MoE layer, ascending
  AttentionPlan attention;
  HeadPlan head;
  Prediction predicted;
  Prediction predicted_cpu;        // the same prompt on the CPU alone
  std::vector<std::string> notes;  // limits met, experts left out and why

  int64_t ProgramCount() const;   // packages
  int64_t FunctionCount() const;  // what counts against the limit of loaded programs
  void RemovePrograms();          // everything becomes CPU work
  // Experts with the shared one, which has a size of its own.
  int expert_count() const { return num_experts + (shared_intermediate_size > 0 ? 1 : 0); }
  int IntermediateOf(int expert) const {
    return expert < num_experts ? expert_intermediate_size : shared_intermediate_size;
  }
  std::string Hash() const;  // of everything that execution depends on, not of the predictions
};

enum class ProgramKind { kExperts, kAttention, kHead };
const char* Name(ProgramKind kind);  // "experts", "attention", "head"

// One of a plan's programs. `index` counts the expert programs of a layer; attention and head have
// 0. The head stands behind the last layer of the model: `layer` is 0 for it.
struct ProgramId {
  ProgramKind kind = ProgramKind::kExperts;
  int layer = 0;
  int index = 0;
  auto operator<=>(const ProgramId&) const = default;
};
std::string Describe(const ProgramId& id);  // "layer 3, program 1", "layer 3, attention", "head"

// All programs in the order in which they are compiled and loaded: experts, which attention must
// not take the places of, then attention, then the head.
std::vector<ProgramId> ProgramsOf(const Plan& plan);
const PlannedProgram& ExpertProgramOf(const Plan& plan, const ProgramId& id);

// Human-readable JSON. Parsing checks everything that stands in the file itself: version, unknown
// and missing fields, capacities, experts twice or out of range, order of layers, ...
std::string SerializePlan(const Plan& plan);
Result<Plan> ParsePlan(std::string_view text, const std::string& name);

// A plan for another model or another profile is an error that says which and what to do.
Status CheckPlanFits(const Plan& plan, const ModelConfig& config, const std::string& model_hash,
                     const ChipProfile& profile);
// The same for the calibration, where one is at hand.
Status CheckPlanCalibration(const Plan& plan, const std::string& calibration_hash);

}  // namespace npumoe
