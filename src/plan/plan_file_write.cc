// SerializePlan (plan.h): one line a program, so that plans can be read and compared by eye.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "plan/plan.h"

namespace npumoe {
namespace {

// nlohmann::json writes the shortest text that reads back as the same double.
std::string Text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Field(const char* name, const Json& value) {
  return fmt::format("  \"{}\": {},\n", name, Text(value));
}

std::string EstimateText(const Estimate& estimate) {
  return fmt::format(R"({{"value": {}, "spread": {}}})", Text(estimate.value),
                     Text(estimate.spread));
}

std::string PredictionText(const Prediction& p) {
  std::string text = "{\n";
  const auto add = [&text](const char* name, const std::string& value) {
    text += fmt::format("    \"{}\": {},\n", name, value);
  };
  add("prompt_tokens", Text(p.prompt_tokens));
  add("time_ms", EstimateText(p.time_ms));
  add("energy_j", EstimateText(p.energy_j));
  add("cpu_busy_ms", EstimateText(p.cpu_busy_ms));
  add("npu_busy_ms", EstimateText(p.npu_busy_ms));
  add("launches", Text(p.launches));
  add("padding", Text(p.padding));
  add("spill", Text(p.spill));
  add("npu_share", Text(p.npu_share));
  add("npu_weight_bytes", Text(p.npu_weight_bytes));
  return text + fmt::format("    \"io_bytes\": {}\n  }}", p.io_bytes);
}

std::string ProgramText(const PlannedProgram& program) {
  std::string experts;
  for (const PlannedExpert& expert : program.experts) {
    if (!experts.empty()) experts += ", ";
    experts += fmt::format("[{}, {}]", expert.expert, expert.capacity);
  }
  std::string buckets;
  if (!program.smaller_buckets.empty()) {
    buckets = fmt::format(", \"smaller_buckets\": {}", Text(program.smaller_buckets));
  }
  return fmt::format("{{\"form\": \"{}\", \"experts\": [{}]{}}}", Name(program.form), experts,
                     buckets);
}

// One line a program, so that a plan can be read and compared by eye.
std::string LayerText(const LayerPlan& layer) {
  std::string programs;
  for (const PlannedProgram& program : layer.programs) {
    programs += (programs.empty() ? "\n      " : ",\n      ") + ProgramText(program);
  }
  return fmt::format("    {{\"layer\": {}, \"programs\": [{}]}}", layer.layer, programs);
}

// What every token goes through besides experts, where it is the NPU's.
std::string DenseText(const Plan& plan) {
  std::string text;
  if (!plan.attention.layers.empty()) {
    text += fmt::format("  \"attention\": {{\"layers\": {}, \"history_tokens\": {}}},\n",
                        Text(plan.attention.layers), Text(plan.attention.history_tokens));
  }
  if (!plan.head.rows.empty()) {
    text += fmt::format("  \"head\": {{\"rows\": {}, \"slice_entries\": {}}},\n",
                        Text(plan.head.rows), plan.head.slice_entries);
  }
  return text;
}

}  // namespace

std::string SerializePlan(const Plan& plan) {
  std::string text = "{\n";
  text += Field("version", Plan::kVersion);
  text += Field("strategy", Name(plan.strategy));
  text += Field("objective", Name(plan.objective));
  text += Field("overflow", Name(plan.overflow));
  text += Field("min_npu_share", plan.min_npu_share);
  text += Field("weight_format", Name(plan.weight_format));
  text += Field("dense_weight_format", Name(plan.dense_weight_format));
  text += Field("chunk_tokens", plan.chunk_tokens);
  text += Field("hidden_size", plan.hidden_size);
  text += Field("expert_intermediate_size", plan.expert_intermediate_size);
  text += Field("num_experts", plan.num_experts);
  text += Field("experts_per_token", plan.experts_per_token);
  text += Field("shared_intermediate_size", plan.shared_intermediate_size);
  text += Field("activation_limit", plan.activation_limit);
  text += Field("model_hash", plan.model_hash);
  text += Field("calibration_hash", plan.calibration_hash);
  text += Field("profile_name", plan.profile_name);
  text += Field("profile_hash", plan.profile_hash);
  text += Field("notes", plan.notes);
  text += fmt::format("  \"predicted\": {},\n", PredictionText(plan.predicted));
  text += fmt::format("  \"predicted_cpu\": {},\n", PredictionText(plan.predicted_cpu));
  std::string layers;
  for (const LayerPlan& layer : plan.layers) {
    layers += (layers.empty() ? "\n" : ",\n") + LayerText(layer);
  }
  return text + DenseText(plan) + fmt::format("  \"layers\": [{}\n  ]\n}}\n", layers);
}

}  // namespace npumoe
