#include "plan/cost_model.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "plan/program_limits.h"

namespace npumoe {
namespace {

constexpr double kFp16Bytes = 2;
constexpr double kFp32Bytes = 4;
// Two norms and two residual additions, each reading and writing a row of fp32.
constexpr double kNormAndResidualBytes = 4 * 2 * kFp32Bytes;

double BytesToMs(double bytes, double gb_per_s) { return bytes / (gb_per_s * 1e6); }

double ExpertIoBytes(const ModelConfig& config, int64_t capacity) {
  return 2.0 * static_cast<double>(capacity) * config.hidden_size * kFp16Bytes;  // in and out
}

// Weights of the products with every token's row.
double AttentionWeights(const ModelConfig& config) {
  const AttentionConfig& attention = config.attention;
  const double hidden = config.hidden_size;
  const double query = attention.query_size();
  const double output = attention.output_size() * hidden;
  if (!attention.latent) return hidden * (query + 2.0 * attention.kv_size()) + output;
  const LatentAttention& latent = *attention.latent;
  const double rank = latent.q_lora_rank;
  const double queries = rank == 0 ? hidden * query : rank * (hidden + query);
  return queries + hidden * latent.cache_size() + output;
}

// Floats read per cached token; latent attention reads its expanded keys and values.
double CacheFloats(const ModelConfig& config) {
  const AttentionConfig& attention = config.attention;
  if (!attention.latent) return 2.0 * attention.kv_size();
  return attention.query_size() + attention.output_size();
}

// Mean of min(history + i, window) over the queries i = 1 .. tokens.
double MeanKeysInWindow(int64_t tokens, int64_t history, int64_t window) {
  const int64_t growing = std::clamp<int64_t>(window - history, 0, tokens);  // see all there is
  const double grown = static_cast<double>(growing) *
                       (static_cast<double>(history) + (static_cast<double>(growing) + 1) / 2);
  return (grown + static_cast<double>((tokens - growing) * window)) / static_cast<double>(tokens);
}

// of(window) of the layers; window 0: none.
template <class Of>
double MeanOverLayers(const ModelConfig& config, Of of) {
  const int64_t window = config.attention.window_tokens;
  if (window == 0) return of(0);
  double sum = 0;
  for (int layer = 0; layer < config.num_layers; ++layer)
    sum += of(config.attention.WindowOf(layer));
  return sum / config.num_layers;
}

}  // namespace

CostModel::CostModel(const ModelConfig& config, const ChipProfile& profile, double weight_bytes_cpu,
                     const ProgramFormats& formats)
    : config_(config), profile_(profile), weight_bytes_cpu_(weight_bytes_cpu), formats_(formats) {
  NPUMOE_CHECK(weight_bytes_cpu > 0);
}

double CostModel::WeightsOf(int expert) const {
  if (expert < config_.moe.num_experts) return static_cast<double>(config_.ExpertParameters());
  return 3.0 * config_.hidden_size * config_.moe.shared_intermediate_size;
}

LaunchCost CostModel::Launch(const PlannedProgram& program, std::span<const int64_t> rows) const {
  std::vector<int64_t> capacities;
  for (const PlannedExpert& expert : program.experts) capacities.push_back(expert.capacity);
  return Launch(program, capacities, rows);
}

LaunchCost CostModel::Launch(const PlannedProgram& program, std::span<const int64_t> capacities,
                             std::span<const int64_t> rows) const {
  NPUMOE_CHECK(rows.size() == program.experts.size() && capacities.size() == rows.size());
  std::vector<LaunchWork> works(rows.size());
  double io_bytes = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t capacity = capacities[i];
    const int expert = program.experts[i].expert;
    const double weights = WeightsOf(expert);
    const int64_t computed = profile_.npu.cost_follows_rows ? rows[i] : capacity;
    works[i].rows = static_cast<double>(computed);
    works[i].flops = 2.0 * works[i].rows * weights;
    works[i].weight_bytes = static_cast<double>(ExpertProgramBytes(expert));
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

double CostModel::CpuExpertMs(int expert, int64_t rows) const {
  if (rows == 0) return 0;
  const double weights = WeightsOf(expert);
  const double count = static_cast<double>(rows);
  return ModelCpuFfnMs(profile_.cpu, count, 2 * count * weights, weights * weight_bytes_cpu_) +
         BytesToMs(count * config_.hidden_size * kCpuExpertMoveBytes,
                   profile_.cpu.copy_gb_per_s.value);
}

double CostModel::GatherMs(int64_t assignments) const {
  return BytesToMs(static_cast<double>(assignments) * config_.hidden_size * kGatherBytes,
                   profile_.cpu.Gather().value);
}

double CostModel::CombineMs(int64_t assignments) const {
  return BytesToMs(static_cast<double>(assignments) * config_.hidden_size * kCombineBytes,
                   profile_.cpu.Combine().value);
}

double CostModel::DispatchMs(int64_t assignments) const {
  return GatherMs(assignments) + CombineMs(assignments);
}

double CostModel::AttentionAndRouterMs(int64_t tokens, int64_t history) const {
  if (tokens == 0) return 0;
  const double t = static_cast<double>(tokens);
  const double hidden = config_.hidden_size;
  const AttentionConfig& attention = config_.attention;
  const double matrices = AttentionWeights(config_) + hidden * config_.moe.num_experts;
  const double query_and_value = attention.query_size() + attention.output_size();
  const double cached = static_cast<double>(history) + t;
  const double keys = MeanOverLayers(config_, [&](int64_t window) {
    return window == 0 ? static_cast<double>(history) + (t + 1) / 2  // mean over causal rows
                       : MeanKeysInWindow(tokens, history, window);
  });
  const double rows_read = MeanOverLayers(config_, [&](int64_t window) {
    return window == 0 ? cached : std::min(cached, t + static_cast<double>(window));
  });
  const double cache_bytes = CacheFloats(config_) * rows_read * kFp32Bytes;
  return ModelCpuFfnMs(profile_.cpu, t, 2 * t * matrices, matrices * weight_bytes_cpu_) +
         ExpandLatentMs(cached) +
         ModelCpuFfnMs(profile_.cpu, t, 2 * t * keys * query_and_value, cache_bytes) +
         BytesToMs(t * hidden * kNormAndResidualBytes, profile_.cpu.copy_gb_per_s.value);
}

double CostModel::ExpandLatentMs(double cached_tokens) const {
  if (!config_.attention.latent) return 0;
  const LatentAttention& latent = *config_.attention.latent;
  const double weights = static_cast<double>(config_.attention.num_heads) * latent.kv_lora_rank *
                         (latent.nope_head_dim + latent.value_head_dim);
  return ModelCpuFfnMs(profile_.cpu, cached_tokens, 2 * cached_tokens * weights,
                       weights * weight_bytes_cpu_);
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

int64_t CostModel::ExpertProgramBytes(int expert) const {
  return FfnWeightBytes(formats_.experts, config_.hidden_size,
                        expert < config_.moe.num_experts ? config_.moe.expert_intermediate_size
                                                         : config_.moe.shared_intermediate_size);
}

}  // namespace npumoe
