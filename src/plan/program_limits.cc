#include "plan/program_limits.h"

#include <algorithm>

namespace npumoe {
namespace {

// Besides its weights a blob file holds one header and 64 bytes, aligned to 64, per tensor
// (coreml-format): three matrices an expert, three more tensors with biases.
constexpr int64_t kBlobHeaderBytes = 64;
constexpr int64_t kBlobTensorBytes = 128;
// Chosen: the rest is for the model file, the cache and the system.
constexpr double kProgramShareOfMemory = 0.75;

// What one expert takes of a program.
struct ExpertSize {
  int64_t widest = 0;  // axis
  int64_t bytes = 0;
  int64_t tensors = 3;
};

// Formats other than fp16 store scales or a table beside each matrix.
int64_t MatrixTensors(WeightFormat format) { return format == WeightFormat::kF16 ? 3 : 6; }

ExpertSize RoutedSize(const CostModel& costs) {
  const ModelConfig& config = costs.config();
  return {std::max(config.hidden_size, config.moe.expert_intermediate_size),
          costs.ExpertProgramBytes(0),
          MatrixTensors(costs.formats().experts) + (config.moe.expert_bias ? 3 : 0)};
}

ExpertSize SharedSize(const CostModel& costs) {
  const ModelConfig& config = costs.config();
  return {std::max(config.hidden_size, config.moe.shared_intermediate_size),
          costs.ExpertProgramBytes(config.moe.num_experts), MatrixTensors(costs.formats().experts)};
}

int64_t CountThatFits(const ExpertSize& size, const ChipProfile& profile, GraphForm form) {
  const NpuLimits& limits = profile.limits;
  if (!TakesForm(profile, form) || size.widest > limits.max_channels) return 0;
  const int64_t by_bytes = limits.max_program_bytes / size.bytes;
  const int64_t by_file = std::max<int64_t>(0, limits.max_weight_file_bytes - kBlobHeaderBytes) /
                          (size.bytes + size.tensors * kBlobTensorBytes);
  const int64_t count = std::min(by_bytes, by_file);
  return form == GraphForm::kGroupedConv ? std::min(count, limits.max_channels / size.widest)
                                         : count;
}

}  // namespace

int64_t FfnWeightBytes(WeightFormat format, int64_t hidden, int64_t intermediate) {
  return 2 * WeightBytes(format, intermediate, hidden) + WeightBytes(format, hidden, intermediate);
}

bool TakesForm(const ChipProfile& profile, GraphForm form) {
  const std::vector<std::string>& refused = profile.limits.refused_forms;
  return std::find(refused.begin(), refused.end(), Name(form)) == refused.end();
}

int ExpertsPerProgram(const CostModel& costs, GraphForm form) {
  const int64_t count = CountThatFits(RoutedSize(costs), costs.profile(), form);
  return static_cast<int>(std::min<int64_t>(count, costs.config().moe.num_experts));
}

std::optional<GraphForm> GroupForm(const CostModel& costs) {
  for (const GraphForm form : {GraphForm::kGroupedConv, GraphForm::kDenseChains}) {
    if (ExpertsPerProgram(costs, form) > 0) return form;
  }
  return std::nullopt;
}

std::optional<GraphForm> SingleForm(const CostModel& costs) {
  for (const GraphForm form : {GraphForm::kDenseChains, GraphForm::kGroupedConv}) {
    if (ExpertsPerProgram(costs, form) > 0) return form;
  }
  return std::nullopt;
}

std::optional<GraphForm> SharedForm(const CostModel& costs) {
  for (const GraphForm form : {GraphForm::kDenseChains, GraphForm::kGroupedConv}) {
    if (CountThatFits(SharedSize(costs), costs.profile(), form) > 0) return form;
  }
  return std::nullopt;
}

int64_t ProgramMemoryBytes(const ChipProfile& profile) {
  return static_cast<int64_t>(kProgramShareOfMemory * profile.memory_bytes.value);
}

int64_t MaxResidentExperts(const CostModel& costs) {
  return ProgramMemoryBytes(costs.profile()) / RoutedSize(costs).bytes;
}

}  // namespace npumoe
