#include "plan/cost_model.h"

#include <vector>

#include "base/check.h"

namespace npumoe {
namespace {

constexpr double kFp16Bytes = 2;
constexpr double kFp32Bytes = 4;
// Bytes that the CPU moves per element of a row. Gather for the NPU reads fp32 and writes fp16;
// combine reads fp16 and reads and writes the fp32 residual. For CPU experts all is fp32.
constexpr double kGatherBytes = kFp32Bytes + kFp16Bytes;
constexpr double kCombineBytes = kFp16Bytes + 2 * kFp32Bytes;
constexpr double kCpuExpertMoveBytes = 2 * kFp32Bytes + 3 * kFp32Bytes;
// Two norms and two residual additions, each reading and writing a row of fp32.
constexpr double kNormAndResidualBytes = 4 * 2 * kFp32Bytes;

double BytesToMs(double bytes, double gb_per_s) { return bytes / (gb_per_s * 1e6); }

double ExpertIoBytes(const ModelConfig& config, int64_t capacity) {
  return 2.0 * static_cast<double>(capacity) * config.hidden_size * kFp16Bytes;  // in and out
}

}  // namespace

CostModel::CostModel(const ModelConfig& config, const ChipProfile& profile, double weight_bytes_cpu)
    : config_(config), profile_(profile), weight_bytes_cpu_(weight_bytes_cpu) {
  NPUMOE_CHECK(weight_bytes_cpu > 0);
}

LaunchCost CostModel::Launch(const PlannedProgram& program, std::span<const int64_t> rows) const {
  NPUMOE_CHECK(rows.size() == program.experts.size());
  const double weights = static_cast<double>(config_.ExpertParameters());
  std::vector<LaunchWork> works(rows.size());
  double io_bytes = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t capacity = program.experts[i].capacity;
    const int64_t computed = profile_.npu.cost_follows_rows ? rows[i] : capacity;
    works[i].rows = static_cast<double>(computed);
    works[i].flops = 2.0 * works[i].rows * weights;
    works[i].weight_bytes = weights * kFp16Bytes;
    io_bytes += ExpertIoBytes(config_, capacity);
  }
  return ModelLaunch(profile_.npu, works, io_bytes);
}

LaunchCost CostModel::LaunchAtCapacity(const PlannedProgram& program) const {
  std::vector<int64_t> rows;
  for (const PlannedExpert& expert : program.experts) rows.push_back(expert.capacity);
  return Launch(program, rows);
}

double CostModel::NpuExpertMs(int64_t capacity) const {
  if (capacity == 0) return 0;
  const PlannedProgram one{GraphForm::kDenseChains, {{0, capacity}}};
  const LaunchCost cost = LaunchAtCapacity(one);
  return cost.compute_ms + cost.io_ms;
}

double CostModel::CpuExpertMs(int64_t rows) const {
  if (rows == 0) return 0;
  const double weights = static_cast<double>(config_.ExpertParameters());
  const double count = static_cast<double>(rows);
  return ModelCpuFfnMs(profile_.cpu, count, 2 * count * weights, weights * weight_bytes_cpu_) +
         BytesToMs(count * config_.hidden_size * kCpuExpertMoveBytes,
                   profile_.cpu.copy_gb_per_s.value);
}

double CostModel::GatherMs(int64_t assignments) const {
  return BytesToMs(static_cast<double>(assignments) * config_.hidden_size * kGatherBytes,
                   profile_.cpu.copy_gb_per_s.value);
}

double CostModel::CombineMs(int64_t assignments) const {
  return BytesToMs(static_cast<double>(assignments) * config_.hidden_size * kCombineBytes,
                   profile_.cpu.copy_gb_per_s.value);
}

double CostModel::DispatchMs(int64_t assignments) const {
  return GatherMs(assignments) + CombineMs(assignments);
}

double CostModel::AttentionAndRouterMs(int64_t tokens, int64_t history) const {
  if (tokens == 0) return 0;
  const double t = static_cast<double>(tokens);
  const double hidden = config_.hidden_size;
  const double query = config_.attention.query_size();
  const double kv = config_.attention.kv_size();
  const double matrices =
      hidden * (query + 2 * kv) + query * hidden + hidden * config_.moe.num_experts;
  const double keys = static_cast<double>(history) + (t + 1) / 2;  // mean over causal rows
  const double cache_bytes = 2 * kv * (static_cast<double>(history) + t) * kFp32Bytes;
  return ModelCpuFfnMs(profile_.cpu, t, 2 * t * matrices, matrices * weight_bytes_cpu_) +
         ModelCpuFfnMs(profile_.cpu, t, 4 * t * keys * query, cache_bytes) +
         BytesToMs(t * hidden * kNormAndResidualBytes, profile_.cpu.copy_gb_per_s.value);
}

double CostModel::DenseFfnMs(int64_t tokens) const {
  if (tokens == 0) return 0;
  const double t = static_cast<double>(tokens);
  const double weights = 3.0 * config_.hidden_size * config_.dense_intermediate_size;
  return ModelCpuFfnMs(profile_.cpu, t, 2 * t * weights, weights * weight_bytes_cpu_);
}

double CostModel::HeadMs() const {
  const double weights = static_cast<double>(config_.hidden_size) * config_.vocab_size;
  return ModelCpuFfnMs(profile_.cpu, 1, 2 * weights, weights * weight_bytes_cpu_);
}

double CostModel::EnergyJ(double elapsed_ms, double cpu_busy_ms, double npu_energy_j) const {
  const double idle_w = profile_.cpu.idle_w.value + profile_.npu.idle_w.value;
  return (profile_.cpu.active_w.value * cpu_busy_ms + idle_w * elapsed_ms) / 1e3 + npu_energy_j;
}

int64_t CostModel::ExpertProgramBytes() const {
  return config_.ExpertParameters() * static_cast<int64_t>(kFp16Bytes);
}

}  // namespace npumoe
