// npumoe dump: everything that another implementation can be compared with, as safetensors.
//   logits F32 [T, V]; hidden.L F32 [T, H], output of layer L; router.L.ids I32 [T, k] and
//   router.L.weights F32 [T, k]; greedy I32 [N] with --greedy N
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/engine.h"
#include "cli/input.h"
#include "kernels/sample/sample.h"
#include "model/safetensors.h"

namespace npumoe::cli {
namespace {

struct Options {
  EngineOptions engine;
  std::string ids_file;
  std::string out;
  int greedy = 0;
  int chunk = 512;
};

// Keeps what the run tells, in the order of positions.
class DumpObserver final : public Observer {
 public:
  struct Layer {
    std::vector<float> hidden;
    std::vector<int32_t> ids;
    std::vector<float> weights;
  };

  bool WantsHidden() const override { return recording_; }
  void OnHidden(const HiddenEvent& event) override {
    if (!recording_) return;
    Append(layers_[event.layer].hidden, event.hidden);
  }
  void OnRouting(const RoutingEvent& event) override {
    if (!recording_) return;
    Append(layers_[event.layer].ids, event.ids);
    Append(layers_[event.layer].weights, event.weights);
  }
  void StopRecording() { recording_ = false; }
  const std::map<int, Layer>& layers() const { return layers_; }

 private:
  template <class T>
  static void Append(std::vector<T>& to, std::span<const T> from) {
    to.insert(to.end(), from.begin(), from.end());
  }
  std::map<int, Layer> layers_;
  bool recording_ = true;
};

template <class T>
TensorView View(DType dtype, const std::vector<T>& values, int64_t rows) {
  const auto columns = static_cast<int64_t>(values.size()) / rows;
  return {dtype, Shape{rows, columns}, reinterpret_cast<const std::byte*>(values.data())};
}

Result<std::vector<int32_t>> ContinueGreedily(Session& session, std::span<const float> last_logits,
                                              int count) {
  std::vector<int32_t> greedy;
  for (int i = 0; i < count; ++i) {
    greedy.push_back(ArgMax(last_logits));
    if (i + 1 == count) break;
    NPUMOE_ASSIGN_OR_RETURN(last_logits, session.Decode(greedy.back()));
  }
  return greedy;
}

Status WriteDump(const std::string& path, const DumpObserver& observer,
                 const std::vector<float>& logits, const std::vector<int32_t>& greedy,
                 int64_t tokens) {
  std::map<std::string, TensorView> tensors;
  tensors["logits"] = View(DType::kF32, logits, tokens);
  for (const auto& [index, layer] : observer.layers()) {
    tensors[fmt::format("hidden.{}", index)] = View(DType::kF32, layer.hidden, tokens);
    if (layer.ids.empty()) continue;
    tensors[fmt::format("router.{}.ids", index)] = View(DType::kI32, layer.ids, tokens);
    tensors[fmt::format("router.{}.weights", index)] = View(DType::kF32, layer.weights, tokens);
  }
  if (!greedy.empty()) {
    tensors["greedy"] = {DType::kI32, Shape{static_cast<int64_t>(greedy.size())},
                         reinterpret_cast<const std::byte*>(greedy.data())};
  }
  return WriteSafetensors(path, tensors);
}

Status RunDump(const Options& options) {
  NPUMOE_ASSIGN_OR_RETURN(const auto engine, OpenEngine(options.engine));
  const ModelConfig& config = engine->model->config;
  NPUMOE_ASSIGN_OR_RETURN(const auto ids, ReadIdsFile(options.ids_file, config.vocab_size));
  DumpObserver observer;
  const auto tokens = static_cast<int64_t>(ids.size());
  NPUMOE_ASSIGN_OR_RETURN(const auto session,
                          engine->NewSession(tokens + options.greedy, &observer,
                                             Engine::On::kPlannedDevice, options.chunk));
  NPUMOE_ASSIGN_OR_RETURN(const PrefillResult result,
                          session->Prefill(ids, LogitsWanted::kAllRows));
  observer.StopRecording();
  const auto vocab = static_cast<size_t>(config.vocab_size);
  NPUMOE_ASSIGN_OR_RETURN(
      const auto greedy,
      ContinueGreedily(*session, std::span(result.logits).last(vocab), options.greedy));
  NPUMOE_RETURN_IF_ERROR(WriteDump(options.out, observer, result.logits, greedy, tokens));
  return CheckRequiredNpu(*engine, options.engine);
}

}  // namespace

void AddDumpCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command =
      app.add_subcommand("dump", "Write logits, hidden states and routing of a prompt to a file");
  auto options = std::make_shared<Options>();
  AddModelOption(*command, options->engine);
  AddThreadOption(*command, options->engine);
  AddDeviceOptions(*command, options->engine);
  command->add_option("--ids-file", options->ids_file, "Token ids, separated by white space")
      ->required();
  command->add_option("--out,-o", options->out, "Output .safetensors file")->required();
  command->add_option("--greedy", options->greedy, "Also continue greedily by so many tokens")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--chunk", options->chunk, "Prefill chunk on the CPU, in tokens")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command->footer(
      "Example:\n  npumoe dump models/demo --ids-file ids.txt --out dump.safetensors "
      "--greedy 30");
  command->callback([options, &selected] { selected = [options] { return RunDump(*options); }; });
}

}  // namespace npumoe::cli
