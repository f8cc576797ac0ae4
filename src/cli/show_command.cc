// npumoe show: what a model folder or a plan file holds.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "cli/engine.h"
#include "cli/table.h"
#include "model/model.h"

namespace npumoe::cli {
namespace {

struct Options {
  std::string path;
  bool json = false;
};

using OrderedJson = nlohmann::ordered_json;

int64_t WeightBytes(const ModelWeights& weights) {
  int64_t bytes = 0;
  const auto add = [&](const TensorView& t) {
    if (!t.empty()) bytes += static_cast<int64_t>(t.bytes());
  };
  const auto add_ffn = [&](const FfnWeights& f) { add(f.gate), add(f.up), add(f.down); };
  add(weights.embedding);
  add(weights.final_norm);
  if (weights.lm_head.data != weights.embedding.data) add(weights.lm_head);
  for (const LayerWeights& layer : weights.layers) {
    const AttentionWeights& a = layer.attention;
    for (const TensorView& t : {layer.attention_norm, layer.ffn_norm, layer.router, a.q, a.k, a.v,
                                a.o, a.q_bias, a.k_bias, a.v_bias, a.o_bias, a.q_norm, a.k_norm}) {
      add(t);
    }
    add_ffn(layer.dense);
    for (const FfnWeights& expert : layer.experts) add_ffn(expert);
  }
  return bytes;
}

OrderedJson DescribeModel(const Model& model) {
  const ModelConfig& c = model.config;
  const int64_t cache_bytes_per_token = int64_t{8} * c.num_layers * c.attention.kv_size();
  return {{"family", c.family},
          {"layers", c.num_layers},
          {"moe_layers", c.MoeLayers().size()},
          {"hidden_size", c.hidden_size},
          {"heads", c.attention.num_heads},
          {"kv_heads", c.attention.num_kv_heads},
          {"head_dim", c.attention.head_dim},
          {"experts", c.moe.num_experts},
          {"experts_per_token", c.moe.experts_per_token},
          {"expert_intermediate_size", c.moe.expert_intermediate_size},
          {"vocab_size", c.vocab_size},
          {"context_tokens", c.max_position_embeddings},
          {"total_parameters", c.TotalParameters()},
          {"active_parameters", c.ActiveParameters()},
          {"weight_type", Name(model.weights.layers.front().attention.q.dtype)},
          {"weight_bytes", WeightBytes(model.weights)},
          {"kv_cache_bytes_per_token", cache_bytes_per_token},
          {"tokenizer", model.tokenizer != nullptr},
          {"chat_template", model.chat_template ? model.chat_template->name() : "none"},
          {"hash", model.hash}};
}

Status ShowModel(const Options& options) {
  NPUMOE_ASSIGN_OR_RETURN(const auto model, LoadModel(options.path));
  const OrderedJson facts = DescribeModel(*model);
  if (options.json) {
    fmt::print("{}\n", facts.dump(2));
    return OkStatus();
  }
  Table table({"property", "value"}, {Align::kLeft, Align::kLeft});
  for (const auto& [key, value] : facts.items()) {
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (value.is_number_integer()) text = FormatCount(value.get<int64_t>());
    if (key.find("bytes") != std::string::npos) text = FormatBytes(value.get<double>());
    table.AddRow({key, text});
  }
  if (!model->chat_template_problem.empty()) {
    table.AddRow({"chat_template_problem", model->chat_template_problem});
  }
  fmt::print("{}", table.ToString());
  return OkStatus();
}

Status ShowPlan(const Options& options) {
  NPUMOE_ASSIGN_OR_RETURN(const Plan plan, ReadPlanFile(options.path));
  if (options.json) {
    fmt::print("{}\n", SerializePlan(plan));
    return OkStatus();
  }
  fmt::print("plan {}: strategy {}, objective {}, chunk {} tokens, chip {}, overflow {}\n\n",
             plan.Hash().substr(0, 12), Name(plan.strategy), Name(plan.objective),
             plan.chunk_tokens, plan.profile_name, Name(plan.overflow));
  Table table({"layer", "program", "form", "experts", "rows", "smallest", "largest"});
  for (const LayerPlan& layer : plan.layers) {
    for (size_t p = 0; p < layer.programs.size(); ++p) {
      const PlannedProgram& program = layer.programs[p];
      const auto [low, high] = std::minmax_element(
          program.experts.begin(), program.experts.end(),
          [](const PlannedExpert& a, const PlannedExpert& b) { return a.capacity < b.capacity; });
      table.AddRow({std::to_string(layer.layer), std::to_string(p), Name(program.form),
                    std::to_string(program.experts.size()), FormatCount(program.CapacityRows()),
                    std::to_string(low->capacity), std::to_string(high->capacity)});
    }
    if (layer.programs.empty()) table.AddRow({std::to_string(layer.layer), "CPU"});
  }
  fmt::print("{}", table.ToString());
  for (const std::string& note : plan.notes) fmt::print("note: {}\n", note);
  return OkStatus();
}

}  // namespace

void AddShowCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand("show", "Describe a model folder or a plan file");
  auto options = std::make_shared<Options>();
  command->add_option("path,-m,--model", options->path, "Model folder or .plan.json")->required();
  command->add_flag("--json", options->json, "Machine-readable output");
  command->footer("Example:\n  npumoe show models/demo");
  command->callback([options, &selected] {
    selected = [options] {
      return std::filesystem::path(options->path).extension() == ".json" ? ShowPlan(*options)
                                                                         : ShowModel(*options);
    };
  });
}

}  // namespace npumoe::cli
