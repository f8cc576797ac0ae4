#include "plan/dense_costs.h"

#include <vector>

#include "plan/attention_sizes.h"

namespace npumoe {
namespace {

constexpr double kFp16Bytes = 2;
constexpr double kFp32Bytes = 4;
// Per element that the CPU copies into an fp16 buffer, out of one, or norms.
constexpr double kFeedBytes = kFp32Bytes + kFp16Bytes;
constexpr double kTakeBytes = kFp16Bytes + kFp32Bytes;
constexpr double kNormBytes = 2 * kFp32Bytes;
constexpr double kResidualBytes = kFp32Bytes;  // read besides what is taken

double CopyMs(const CostModel& costs, double bytes) {
  return bytes / (costs.profile().cpu.copy_gb_per_s.value * 1e6);
}

LaunchWork Product(double rows, double weights) {
  return {rows, 2 * rows * weights, weights * kFp16Bytes};
}

// Every head's two products between activations. The first has a row for every key, the second
// one for every channel of the values.
void AddHeads(const AttentionSizes& sizes, double keys, double chunk,
              std::vector<LaunchWork>& works) {
  const auto key_channels = static_cast<double>(sizes.key_dim);
  const auto value_channels = static_cast<double>(sizes.value_dim);
  for (int head = 0; head < sizes.num_heads; ++head) {
    works.push_back({keys, 2 * keys * key_channels * chunk, 0});
    works.push_back({value_channels, 2 * value_channels * keys * chunk, 0});
  }
}

}  // namespace

LaunchCost AttentionLaunchCost(const CostModel& costs, int64_t chunk_tokens,
                               int64_t history_tokens) {
  const AttentionSizes sizes = AttentionSizesOf(costs.config());
  const auto chunk = static_cast<double>(chunk_tokens);
  const double keys = static_cast<double>(history_tokens) + chunk;
  std::vector<LaunchWork> works;
  for (const AttentionSizes::Product& product : sizes.products) {
    const auto weights = static_cast<double>(product.matrix.out * product.matrix.in);
    works.push_back(Product(product.rows == ProductRows::kChunk ? chunk : keys, weights));
  }
  AddHeads(sizes, keys, chunk, works);
  const double softmax = 2 * static_cast<double>(sizes.num_heads) * keys * chunk * kFp16Bytes;
  const auto io =
      static_cast<double>(AttentionIoBytes(costs.config(), chunk_tokens, history_tokens));
  return ModelLaunch(costs.profile().npu, works, io + softmax);
}

double AttentionFeedMs(const CostModel& costs, int64_t tokens, int64_t cached,
                       int64_t history_tokens) {
  const ModelConfig& config = costs.config();
  const auto t = static_cast<double>(tokens);
  const double hidden = config.hidden_size;
  const double mask = static_cast<double>(history_tokens + tokens) * t * kFp16Bytes;
  return CopyMs(costs, t * hidden * (kNormBytes + kFeedBytes) +
                           static_cast<double>(cached * CachedDim(config)) * kFeedBytes + mask);
}

double AttentionTakeMs(const CostModel& costs, int64_t tokens) {
  const ModelConfig& config = costs.config();
  const double rows = config.hidden_size * (kTakeBytes + kResidualBytes);
  return CopyMs(costs, static_cast<double>(tokens) *
                           (rows + static_cast<double>(CachedDim(config)) * kTakeBytes));
}

double RouterMs(const CostModel& costs, int64_t tokens) {
  if (tokens == 0) return 0;
  const auto t = static_cast<double>(tokens);
  const double hidden = costs.config().hidden_size;
  const double weights = hidden * costs.config().moe.num_experts;
  return ModelCpuFfnMs(costs.profile().cpu, t, 2 * t * weights,
                       weights * costs.weight_bytes_cpu()) +
         CopyMs(costs, t * hidden * kNormBytes);
}

LaunchCost HeadLaunchCost(const CostModel& costs, int64_t rows) {
  const double hidden = costs.config().hidden_size;
  const double vocabulary = costs.config().vocab_size;
  const std::vector<LaunchWork> works = {Product(static_cast<double>(rows), hidden * vocabulary)};
  return ModelLaunch(costs.profile().npu, works,
                     static_cast<double>(HeadIoBytes(costs.config(), rows)));
}

int64_t AttentionIoBytes(const ModelConfig& config, int64_t chunk_tokens, int64_t history_tokens) {
  const AttentionSizes sizes = AttentionSizesOf(config);
  const int64_t keys = history_tokens + chunk_tokens;
  const int64_t rows_and_tables = 2 * (sizes.hidden + sizes.rotary_dim) * chunk_tokens;
  return 2 * (rows_and_tables + keys * chunk_tokens + CachedDim(config) * keys);
}

int64_t HeadIoBytes(const ModelConfig& config, int64_t rows) {
  return 2 * rows * (int64_t{config.hidden_size} + config.vocab_size);
}

int64_t AttentionWeightBytes(const ModelConfig& config) {
  int64_t weights = 0;
  for (const AttentionSizes::Product& product : AttentionSizesOf(config).products) {
    weights += product.matrix.out * product.matrix.in;
  }
  return 2 * weights;
}

int64_t HeadWeightBytes(const ModelConfig& config) {
  return int64_t{2} * config.hidden_size * config.vocab_size;
}

}  // namespace npumoe
