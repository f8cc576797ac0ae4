#include "plan/dense_costs.h"

#include <fmt/format.h>

#include <vector>

#include "graph/head_program.h"
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

LaunchWork Product(WeightFormat format, double rows, const MatrixShape& matrix) {
  const auto weights = static_cast<double>(matrix.out * matrix.in);
  return {rows, 2 * rows * weights,
          static_cast<double>(WeightBytes(format, matrix.out, matrix.in))};
}

// The head's matrices, one for each slice of the vocabulary.
std::vector<MatrixShape> HeadMatrices(const ModelConfig& config, int64_t slice_entries) {
  std::vector<MatrixShape> matrices;
  for (const HeadSlice& slice :
       HeadSlices({config.hidden_size, config.vocab_size, 1, slice_entries})) {
    matrices.push_back({slice.entries, config.hidden_size});
  }
  return matrices;
}

Status CheckRows(const char* what, int64_t in, WeightFormat format) {
  const int64_t block = ScaleBlock(format);
  if (block == 0 || in % block == 0) return OkStatus();
  return Unsupported(
      fmt::format("weight format {} stores blocks of {}, a matrix of {} has rows of {}; use int8",
                  Name(format), block, what, in));
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
    works.push_back(Product(costs.formats().dense,
                            product.rows == ProductRows::kChunk ? chunk : keys, product.matrix));
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

LaunchCost HeadLaunchCost(const CostModel& costs, const HeadPlan& head, int64_t rows) {
  std::vector<LaunchWork> works;
  for (const MatrixShape& matrix : HeadMatrices(costs.config(), head.slice_entries)) {
    works.push_back(Product(costs.formats().dense, static_cast<double>(rows), matrix));
  }
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

int64_t AttentionWeightBytes(const CostModel& costs) {
  int64_t bytes = 0;
  for (const AttentionSizes::Product& product : AttentionSizesOf(costs.config()).products) {
    bytes += WeightBytes(costs.formats().dense, product.matrix.out, product.matrix.in);
  }
  return bytes;
}

int64_t HeadWeightBytes(const CostModel& costs, int64_t slice_entries) {
  int64_t bytes = 0;
  for (const MatrixShape& matrix : HeadMatrices(costs.config(), slice_entries)) {
    bytes += WeightBytes(costs.formats().dense, matrix.out, matrix.in);
  }
  return bytes;
}

Status CheckAttentionFormat(const ModelConfig& config, WeightFormat format) {
  for (const AttentionSizes::Product& product : AttentionSizesOf(config).products) {
    NPUMOE_RETURN_IF_ERROR(CheckRows("attention", product.matrix.in, format));
  }
  return OkStatus();
}

Status CheckHeadFormat(const ModelConfig& config, WeightFormat format) {
  return CheckRows("the vocabulary head", config.hidden_size, format);
}

}  // namespace npumoe
