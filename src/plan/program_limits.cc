#include "plan/program_limits.h"

#include <algorithm>

namespace npumoe {
namespace {

// Besides its weights a blob file holds one header and 64 bytes, aligned to 64, per tensor
// (coreml-format): three tensors an expert.
constexpr int64_t kBlobHeaderBytes = 64;
constexpr int64_t kBlobEntryBytes = 3 * 128;
// Chosen: the rest is for the model file, the cache and the system.
constexpr double kProgramShareOfMemory = 0.75;

int64_t ExpertBytes(const ModelConfig& config) { return config.ExpertParameters() * 2; }

}  // namespace

bool TakesForm(const ChipProfile& profile, GraphForm form) {
  const std::vector<std::string>& refused = profile.limits.refused_forms;
  return std::find(refused.begin(), refused.end(), Name(form)) == refused.end();
}

int ExpertsPerProgram(const ModelConfig& config, const ChipProfile& profile, GraphForm form) {
  const NpuLimits& limits = profile.limits;
  if (!TakesForm(profile, form)) return 0;
  const int64_t widest = std::max(config.hidden_size, config.moe.expert_intermediate_size);
  if (widest > limits.max_axis) return 0;
  const int64_t by_bytes = limits.max_program_bytes / ExpertBytes(config);
  const int64_t by_file = std::max<int64_t>(0, limits.max_weight_file_bytes - kBlobHeaderBytes) /
                          (ExpertBytes(config) + kBlobEntryBytes);
  int64_t experts = std::min({by_bytes, by_file, int64_t{config.moe.num_experts}});
  if (form == GraphForm::kGroupedConv) experts = std::min(experts, limits.max_axis / widest);
  return static_cast<int>(experts);
}

std::optional<GraphForm> GroupForm(const ModelConfig& config, const ChipProfile& profile) {
  for (const GraphForm form : {GraphForm::kGroupedConv, GraphForm::kDenseChains}) {
    if (ExpertsPerProgram(config, profile, form) > 0) return form;
  }
  return std::nullopt;
}

std::optional<GraphForm> SingleForm(const ModelConfig& config, const ChipProfile& profile) {
  for (const GraphForm form : {GraphForm::kDenseChains, GraphForm::kGroupedConv}) {
    if (ExpertsPerProgram(config, profile, form) > 0) return form;
  }
  return std::nullopt;
}

int64_t MaxResidentExperts(const ModelConfig& config, const ChipProfile& profile) {
  return static_cast<int64_t>(kProgramShareOfMemory * profile.memory_bytes.value /
                              static_cast<double>(ExpertBytes(config)));
}

}  // namespace npumoe
