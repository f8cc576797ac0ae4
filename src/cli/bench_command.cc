// npumoe bench: rates of prefill and decode on the CPU, beside what the same run measures of the
// machine: FMA peak, one large square product, read bandwidth. Ratios hold on noisy machines;
// every repetition measures all of them in turn, and medians with their range are printed. With
// --plan, whole prefills beside their prediction (bench_with_plan.h).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "base/clock.h"
#include "cli/bench_prompt.h"
#include "cli/bench_report.h"
#include "cli/bench_with_plan.h"
#include "cli/command.h"
#include "cli/engine.h"
#include "cli/progress.h"
#include "cli/weight_classes.h"
#include "kernels/gemm/gemm.h"
#include "kernels/peak/peak.h"
#include "model/synthetic.h"

namespace npumoe::cli {
namespace {

struct Options {
  EngineOptions engine;
  int synthetic_layers = 0;
  int64_t prompt_tokens = 512;
  int64_t generate_tokens = 16;
  int repetitions = 5;
  int64_t square = 4096;
  bool json = false;
};

Result<std::shared_ptr<const Model>> OpenModel(const Options& options) {
  if (options.synthetic_layers == 0) {
    if (options.engine.model.empty())
      return UsageError("bench needs a model folder or --synthetic N");
    return LoadModel(options.engine.model);
  }
  SyntheticOptions synthetic;
  synthetic.config = Qwen3_30B_A3B_Config(options.synthetic_layers);
  return MakeSyntheticModel(synthetic);
}

// One n x n x n product of fp32 activations with weights of the model's type; n rounded up to
// whole blocks of quantised weights.
class SquareProduct {
 public:
  SquareProduct(int64_t n, DType dtype) : n_(RoundUp(n, BlockElements(dtype))), dtype_(dtype) {
    const auto elements = static_cast<size_t>(n_ * n_);
    in_.Resize(elements);
    out_.Resize(elements);
    weight_.Resize(BytesOf(dtype, n_ * n_));
    std::mt19937 random(1);
    for (size_t i = 0; i < elements; ++i) in_[i] = static_cast<float>(random() % 17) - 8;
    // Any finite pattern serves: 0x3c3c is a normal number in F16 (so that blocks scaled by it are
    // finite too), BF16 and (twice) in F32.
    std::memset(weight_.data(), 0x3c, weight_.size());
  }
  double MeasureGflops(ThreadPool& pool) {
    Stopwatch watch;
    MatMul({in_.data(), n_, n_, n_}, {dtype_, Shape{n_, n_}, weight_.data()}, {},
           {out_.data(), n_, n_, n_}, pool);
    const auto n = static_cast<double>(n_);
    return 2 * n * n * n / watch.ElapsedMs() / 1e6;
  }

 private:
  int64_t n_;
  DType dtype_;
  AlignedBuffer<float> in_, out_;
  AlignedBuffer<std::byte> weight_;
};

// Weights that one token multiplies with, without embedding and head.
double ActiveLayerParameters(const ModelConfig& config) {
  const double head = static_cast<double>(config.vocab_size) * config.hidden_size;
  const double embeddings = config.tie_word_embeddings ? head : 2 * head;
  return static_cast<double>(config.ActiveParameters()) - embeddings;
}

// Bytes of weights that one token multiplies with, the head included.
double BytesPerToken(const Model& model) {
  double bytes = static_cast<double>(model.weights.lm_head.bytes());
  for (const WeightClass& weights : WeightClasses(model.weights)) {
    if (weights.name == "embedding" || weights.name == "head") continue;
    double share = 1;
    if (weights.name == "experts") {
      share =
          static_cast<double>(model.config.moe.experts_per_token) / model.config.moe.num_experts;
    }
    for (const auto& [dtype, count] : weights.types) {
      bytes += share * static_cast<double>(count.bytes);
    }
  }
  return bytes;
}

Result<BenchSample> RunOnce(const Options& options, Session& session, SquareProduct& square,
                            ThreadPool& pool, uint64_t seed) {
  const Model& model = session.model();
  BenchSample sample;
  sample.peak_gflops = MeasureFmaPeak(pool);
  sample.square_gflops = square.MeasureGflops(pool);
  NPUMOE_RETURN_IF_ERROR(session.Rewind(0));
  const auto ids = RandomPrompt(options.prompt_tokens, model.config.vocab_size, seed);
  NPUMOE_ASSIGN_OR_RETURN(const PrefillResult prefill,
                          session.Prefill(ids, LogitsWanted::kLastRow));
  const double layer_parameters = ActiveLayerParameters(model.config);
  const auto tokens = static_cast<double>(options.prompt_tokens);
  sample.prefill_tokens_per_s = tokens / prefill.wall_ms * 1000;
  sample.prefill_gflops = 2 * layer_parameters * tokens / prefill.wall_ms / 1e6;
  const StageTimes& stages = prefill.stages;
  sample.dispatch_share =
      (stages.router_ms + stages.gather_ms + stages.combine_ms) / stages.MoeBlockMs();
  sample.stages = stages;
  sample.bandwidth_gb_per_s = MeasureReadBandwidth(pool);
  Stopwatch watch;
  for (int64_t i = 0; i < options.generate_tokens; ++i) {
    NPUMOE_RETURN_IF_ERROR(session.Decode(ids[static_cast<size_t>(i)]).status());
  }
  const double decode_ms = watch.ElapsedMs();
  const auto generated = static_cast<double>(options.generate_tokens);
  sample.decode_tokens_per_s = generated / decode_ms * 1000;
  sample.decode_gb_per_s = BytesPerToken(model) * generated / decode_ms / 1e6;
  return sample;
}

Status BenchWithPlan(const Options& options) {
  if (options.engine.model.empty() || options.synthetic_layers != 0) {
    return UsageError("bench --plan needs the model folder that the plan was made for");
  }
  return RunPlanBench({options.engine, options.prompt_tokens, options.repetitions, options.json});
}

Status RunBench(const Options& options) {
  if (!options.engine.plan.empty()) return BenchWithPlan(options);
  if (options.generate_tokens > options.prompt_tokens) {
    return UsageError("-n must not exceed -p: the prompt's tokens are decoded again");
  }
  NPUMOE_ASSIGN_OR_RETURN(const auto model, OpenModel(options));
  ThreadPool pool(options.engine.threads);
  SessionOptions session_options;
  session_options.context_tokens = options.prompt_tokens + options.generate_tokens;
  NPUMOE_ASSIGN_OR_RETURN(const auto session, Session::Create(model, pool, session_options));
  SquareProduct square(options.square, model->weights.lm_head.dtype);
  std::vector<BenchSample> samples;
  Progress progress("benchmark", "repetitions");
  for (int r = -1; r < options.repetitions; ++r) {  // the first is a warm-up
    NPUMOE_ASSIGN_OR_RETURN(const BenchSample sample,
                            RunOnce(options, *session, square, pool, static_cast<uint64_t>(r + 2)));
    if (r >= 0) samples.push_back(sample);
    progress.Update(r + 2, options.repetitions + 1);
  }
  const BenchSetup setup{model->config,           Name(model->weights.lm_head.dtype),
                         pool.threads(),          options.prompt_tokens,
                         options.generate_tokens, options.square};
  fmt::print("{}", options.json ? BenchJson(setup, samples) : BenchText(setup, samples));
  return OkStatus();
}

}  // namespace

void AddBenchCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand(
      "bench",
      "Measure prefill and decode on the CPU against this machine's limits, or prefill with a plan "
      "against its prediction");
  auto options = std::make_shared<Options>();
  command->add_option("model,-m,--model", options->engine.model, "Model folder or GGUF file");
  command
      ->add_option("--synthetic", options->synthetic_layers,
                   "Instead of a model: random BF16 weights, layer shape of Qwen3-30B-A3B, so "
                   "many layers")
      ->check(CLI::Range(1, 48));
  AddThreadOption(*command, options->engine);
  AddDeviceOptions(*command, options->engine);
  command->add_option("-p,--n-prompt", options->prompt_tokens, "Prompt tokens")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("-n,--n-gen", options->generate_tokens, "Tokens to decode")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("-r,--repetitions", options->repetitions, "Repetitions after a warm-up")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--square", options->square, "Side of the square product")
      ->check(CLI::Range(int64_t{64}, int64_t{16384}))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Machine-readable output");
  command->footer(
      "Example:\n  npumoe bench --synthetic 4 -t 2 -p 512 -n 16\n"
      "  npumoe bench models/demo --plan demo.plan.json --device openvino:CPU -p 1024");
  command->callback([options, &selected] { selected = [options] { return RunBench(*options); }; });
}

}  // namespace npumoe::cli
