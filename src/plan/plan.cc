#include "plan/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <span>

#include "base/hash.h"
#include "plan/attention_shape.h"
#include "plan/attention_sizes.h"
#include "plan/dense_costs.h"

namespace npumoe {
namespace {

template <class Enum>
struct Spelling {
  Enum value;
  const char* name;
};

constexpr Spelling<Strategy> kStrategies[] = {
    {Strategy::kCpu, "cpu"},
    {Strategy::kNaive, "naive"},
    {Strategy::kBase, "base"},
    {Strategy::kTiers, "tiers"},
    {Strategy::kTiersGroups, "tiers+groups"},
    {Strategy::kPaper, "paper"},
    {Strategy::kOptimal, "optimal"},
};
constexpr Spelling<Objective> kObjectives[] = {
    {Objective::kLatency, "latency"},
    {Objective::kEnergy, "energy"},
    {Objective::kCpuTime, "cpu-time"},
};
constexpr Spelling<OverflowMode> kOverflowModes[] = {
    {OverflowMode::kSpill, "spill"},
    {OverflowMode::kDrop, "drop"},
};

template <class Enum>
const char* NameIn(std::span<const Spelling<Enum>> spellings, Enum value) {
  for (const Spelling<Enum>& spelling : spellings) {
    if (spelling.value == value) return spelling.name;
  }
  return "";
}

template <class Enum>
Result<Enum> ParseIn(std::span<const Spelling<Enum>> spellings, std::string_view text,
                     const char* what) {
  std::string known;
  for (const Spelling<Enum>& spelling : spellings) {
    if (spelling.name == text) return spelling.value;
    known += (known.empty() ? "" : ", ") + std::string(spelling.name);
  }
  return InvalidInput(std::string(what) + " '" + std::string(text) +
                      "' is not known; choose one of " + known);
}

void AddLayer(const LayerPlan& layer, Hasher& hasher) {
  hasher.Add(int64_t{layer.layer}).Add(static_cast<int64_t>(layer.programs.size()));
  for (const PlannedProgram& program : layer.programs) {
    hasher.Add(std::string_view(Name(program.form)));
    hasher.Add(static_cast<int64_t>(program.experts.size()));
    for (const PlannedExpert& expert : program.experts) {
      hasher.Add(int64_t{expert.expert}).Add(expert.capacity);
    }
    hasher.Add(static_cast<int64_t>(program.smaller_buckets.size()));
    for (const std::vector<int64_t>& bucket : program.smaller_buckets) {
      for (const int64_t capacity : bucket) hasher.Add(capacity);
    }
  }
}

template <class Number>
void AddNumbers(const std::vector<Number>& numbers, Hasher& hasher) {
  hasher.Add(static_cast<int64_t>(numbers.size()));
  for (const Number number : numbers) hasher.Add(int64_t{number});
}

Status Mismatch(const std::string& what, const std::string& of_plan, const std::string& given) {
  return InvalidInput("the plan was made for " + what + " " + of_plan + ", this is " + given +
                      "; make a plan for it with `npumoe plan`");
}

Status CheckShape(const Plan& plan, const ModelConfig& config) {
  struct Size {
    const char* name;
    int of_plan;
    int of_model;
  };
  const Size sizes[] = {
      {"hidden size", plan.hidden_size, config.hidden_size},
      {"expert size", plan.expert_intermediate_size, config.moe.expert_intermediate_size},
      {"experts", plan.num_experts, config.moe.num_experts},
      {"experts per token", plan.experts_per_token, config.moe.experts_per_token},
      {"shared expert size", plan.shared_intermediate_size, config.moe.shared_intermediate_size},
  };
  for (const Size& size : sizes) {
    if (size.of_plan != size.of_model) {
      return Mismatch(std::string("a model with ") + size.name, std::to_string(size.of_plan),
                      "one with " + std::to_string(size.of_model));
    }
  }
  if (plan.activation_limit != double{config.moe.activation_limit}) {
    return Mismatch("a model with activation limit", fmt::format("{}", plan.activation_limit),
                    fmt::format("one with {}", config.moe.activation_limit));
  }
  std::vector<int> layers;
  for (const LayerPlan& layer : plan.layers) layers.push_back(layer.layer);
  if (layers == config.MoeLayers()) return OkStatus();
  return Mismatch("a model with other MoE layers:", std::to_string(layers.size()) + " of them",
                  "one with " + std::to_string(config.MoeLayers().size()));
}

Status CheckAttention(const Plan& plan, const ModelConfig& config, const NpuLimits& limits) {
  if (plan.attention.layers.empty()) return OkStatus();
  const int64_t keys = plan.attention.history_tokens.back() + plan.chunk_tokens;
  const int64_t most = std::min(limits.max_axis, limits.max_channels);
  if (keys > most) {
    return InvalidInput(fmt::format(
        "the plan's attention has {} keys with the chunk's own, the chip profile allows {}; make "
        "the plan again with `npumoe plan`",
        keys, most));
  }
  if (plan.attention.layers.back() >= config.num_layers) {
    return Mismatch("a model with attention in layer", std::to_string(plan.attention.layers.back()),
                    "one with " + std::to_string(config.num_layers) + " layers");
  }
  NPUMOE_RETURN_IF_ERROR(CheckAttentionFits(config).WithContext("the plan's attention programs"));
  NPUMOE_RETURN_IF_ERROR(CheckAttentionWidths(config, limits.max_channels));
  return CheckAttentionFormat(config, plan.dense_weight_format);
}

Status CheckHead(const Plan& plan, const ModelConfig& config, int64_t quantum) {
  constexpr int64_t kMaxSlices = 256;  // chosen: of 16,384 entries they hold four million
  if (plan.head.rows.empty()) return OkStatus();
  NPUMOE_RETURN_IF_ERROR(CheckHeadFormat(config, plan.dense_weight_format));
  for (const int64_t rows : plan.head.rows) {
    if (rows % quantum == 0 && rows <= plan.chunk_tokens) continue;
    return InvalidInput(fmt::format(
        "the plan's head has {} rows, multiples of {} up to the chunk's {} are needed; make the "
        "plan again with `npumoe plan`",
        rows, quantum, plan.chunk_tokens));
  }
  if (config.vocab_size <= kMaxSlices * plan.head.slice_entries) return OkStatus();
  return InvalidInput(fmt::format(
      "the plan cuts a vocabulary of {} into slices of {}; at least {} entries a slice are needed",
      config.vocab_size, plan.head.slice_entries, (config.vocab_size - 1) / kMaxSlices + 1));
}

Status CheckCapacities(const Plan& plan, int64_t quantum) {
  for (const LayerPlan& layer : plan.layers) {
    for (const PlannedProgram& program : layer.programs) {
      for (const std::vector<int64_t>& bucket : program.Buckets()) {
        for (size_t i = 0; i < bucket.size(); ++i) {
          if (bucket[i] % quantum == 0) continue;
          return InvalidInput(fmt::format(
              "the plan gives expert {} of layer {} a capacity of {}, the profile takes multiples "
              "of {}; make the plan again with `npumoe plan`",
              program.experts[i].expert, layer.layer, bucket[i], quantum));
        }
      }
    }
  }
  return OkStatus();
}

}  // namespace

const char* Name(Strategy strategy) { return NameIn<Strategy>(kStrategies, strategy); }
const char* Name(Objective objective) { return NameIn<Objective>(kObjectives, objective); }
const char* Name(OverflowMode mode) { return NameIn<OverflowMode>(kOverflowModes, mode); }

Result<Strategy> ParseStrategy(std::string_view text) {
  return ParseIn<Strategy>(kStrategies, text, "strategy");
}
Result<Objective> ParseObjective(std::string_view text) {
  return ParseIn<Objective>(kObjectives, text, "objective");
}
Result<OverflowMode> ParseOverflowMode(std::string_view text) {
  return ParseIn<OverflowMode>(kOverflowModes, text, "overflow mode");
}

std::vector<Strategy> AllStrategies() {
  std::vector<Strategy> all;
  for (const Spelling<Strategy>& spelling : kStrategies) all.push_back(spelling.value);
  return all;
}

std::string Plan::Hash() const {
  Hasher hasher;
  hasher.Add(std::string_view("npumoe plan")).Add(int64_t{kVersion});
  for (const char* name : {Name(strategy), Name(objective), Name(overflow), Name(weight_format),
                           Name(dense_weight_format)}) {
    hasher.Add(std::string_view(name));
  }
  hasher.Add(std::bit_cast<int64_t>(min_npu_share));
  for (const int64_t size : {chunk_tokens, hidden_size, expert_intermediate_size, num_experts,
                             experts_per_token, shared_intermediate_size}) {
    hasher.Add(size);
  }
  hasher.Add(std::bit_cast<int64_t>(activation_limit));
  for (const std::string& text : {model_hash, calibration_hash, profile_name, profile_hash}) {
    hasher.Add(std::string_view(text));
  }
  for (const LayerPlan& layer : layers) AddLayer(layer, hasher);
  AddNumbers(attention.layers, hasher);
  AddNumbers(attention.history_tokens, hasher);
  AddNumbers(head.rows, hasher);
  hasher.Add(head.slice_entries);
  return hasher.Hex();
}

Status CheckPlanFits(const Plan& plan, const ModelConfig& config, const std::string& model_hash,
                     const ChipProfile& profile) {
  if (plan.model_hash != model_hash) {
    return Mismatch("the model with hash", plan.model_hash, "the model with hash " + model_hash);
  }
  NPUMOE_RETURN_IF_ERROR(CheckShape(plan, config));
  NPUMOE_RETURN_IF_ERROR(CheckAttention(plan, config, profile.limits));
  NPUMOE_RETURN_IF_ERROR(CheckHead(plan, config, profile.limits.capacity_quantum));
  if (plan.profile_name != profile.name) {
    return Mismatch("the chip profile", "'" + plan.profile_name + "'", "'" + profile.name + "'");
  }
  if (plan.profile_hash != profile.hash) {
    return InvalidInput("the chip profile '" + profile.name +
                        "' has changed since the plan was "
                        "made (hash " +
                        plan.profile_hash + " then, " + profile.hash +
                        " now); make the plan again with `npumoe plan`");
  }
  if (plan.chunk_tokens > profile.limits.max_axis) {
    return InvalidInput("the plan's chunk_tokens is " + std::to_string(plan.chunk_tokens) +
                        ", the chip profile '" + profile.name + "' allows at most " +
                        std::to_string(profile.limits.max_axis) +
                        "; make the plan again with `npumoe plan`");
  }
  return CheckCapacities(plan, profile.limits.capacity_quantum);
}

Status CheckPlanCalibration(const Plan& plan, const std::string& calibration_hash) {
  if (plan.calibration_hash == calibration_hash) return OkStatus();
  return Mismatch("the calibration with hash", plan.calibration_hash,
                  "the calibration with hash " + calibration_hash);
}

}  // namespace npumoe
