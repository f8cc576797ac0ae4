#include "cli/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "cli/table.h"
#include "cli/version.h"
#include "kernels/targets.h"

namespace npumoe::cli {
namespace {

struct Range {
  double median = 0;
  double min = 0;
  double max = 0;
};

Range Measure(const std::vector<BenchSample>& samples,
              const std::function<double(const BenchSample&)>& value) {
  std::vector<double> values;
  for (const BenchSample& sample : samples) values.push_back(value(sample));
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

struct Line {
  const char* key;
  const char* label;
  const char* unit;
  double scale;
  std::function<double(const BenchSample&)> value;
};

std::vector<Line> Lines() {
  using S = const BenchSample&;
  return {
      {"fma_peak_gflops", "FMA peak", "GFLOP/s", 1, [](S s) { return s.peak_gflops; }},
      {"square_gflops", "square product", "GFLOP/s", 1, [](S s) { return s.square_gflops; }},
      {"square_share_of_peak", "  of the FMA peak", "%", 100,
       [](S s) { return s.square_gflops / s.peak_gflops; }},
      {"prefill_tokens_per_s", "prefill", "tokens/s", 1,
       [](S s) { return s.prefill_tokens_per_s; }},
      {"prefill_gflops", "  its products", "GFLOP/s", 1, [](S s) { return s.prefill_gflops; }},
      {"prefill_share_of_square", "  of the square product", "%", 100,
       [](S s) { return s.prefill_gflops / s.square_gflops; }},
      {"dispatch_share", "  dispatch of the MoE block", "%", 100,
       [](S s) { return s.dispatch_share; }},
      {"read_bandwidth_gb_per_s", "read bandwidth", "GB/s", 1,
       [](S s) { return s.bandwidth_gb_per_s; }},
      {"decode_tokens_per_s", "decode", "tokens/s", 1, [](S s) { return s.decode_tokens_per_s; }},
      {"decode_gb_per_s", "  its weights", "GB/s", 1, [](S s) { return s.decode_gb_per_s; }},
      {"decode_share_of_bandwidth", "  of the read bandwidth", "%", 100,
       [](S s) { return s.decode_gb_per_s / s.bandwidth_gb_per_s; }},
      {"attention_ms", "prefill: attention", "ms", 1, [](S s) { return s.stages.attention_ms; }},
      {"router_ms", "prefill: router", "ms", 1, [](S s) { return s.stages.router_ms; }},
      {"gather_ms", "prefill: gather", "ms", 1, [](S s) { return s.stages.gather_ms; }},
      {"experts_ms", "prefill: experts", "ms", 1, [](S s) { return s.stages.experts_ms; }},
      {"combine_ms", "prefill: combine", "ms", 1, [](S s) { return s.stages.combine_ms; }},
      {"head_ms", "prefill: head", "ms", 1, [](S s) { return s.stages.head_ms; }},
  };
}

}  // namespace

std::string BenchText(const BenchSetup& setup, const std::vector<BenchSample>& samples) {
  std::string text = fmt::format(
      "{} layers, {} experts, top {}, hidden {}, {}; {} threads, kernels for {}; prompt {}, decode "
      "{}, square {}; {} repetitions, all measured\n\n",
      setup.config.num_layers, setup.config.moe.num_experts, setup.config.moe.experts_per_token,
      setup.config.hidden_size, setup.weight_type, setup.threads, KernelTargetName(),
      setup.prompt_tokens, setup.generate_tokens, setup.square, samples.size());
  Table table({"", "median", "min", "max", "unit"},
              {Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kLeft});
  for (const Line& line : Lines()) {
    const Range range = Measure(samples, line.value);
    table.AddRow({line.label, fmt::format("{:.1f}", range.median * line.scale),
                  fmt::format("{:.1f}", range.min * line.scale),
                  fmt::format("{:.1f}", range.max * line.scale), line.unit});
  }
  return text + table.ToString();
}

std::string BenchJson(const BenchSetup& setup, const std::vector<BenchSample>& samples) {
  nlohmann::ordered_json json = {{"version", kVersion},
                                 {"simd", KernelTargetName()},
                                 {"threads", setup.threads},
                                 {"layers", setup.config.num_layers},
                                 {"weight_type", setup.weight_type},
                                 {"prompt_tokens", setup.prompt_tokens},
                                 {"generated_tokens", setup.generate_tokens},
                                 {"repetitions", samples.size()}};
  for (const Line& line : Lines()) {
    const Range range = Measure(samples, line.value);
    json[line.key] = {{"median", range.median}, {"min", range.min}, {"max", range.max}};
  }
  return json.dump(2) + "\n";
}

}  // namespace npumoe::cli
