// ParsePlan (plan.h): checks everything that stands in the file itself.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "calibrate/calibration.h"
#include "plan/plan.h"

namespace npumoe {
namespace {

// Chosen: an order of magnitude above any model and any device, so that a larger number is a
// broken file.
constexpr int64_t kMaxChunkTokens = 65'536;
constexpr int64_t kMaxCapacity = 65'536;
constexpr int64_t kMaxExperts = 65'536;
constexpr int64_t kMaxLayers = 10'000;
constexpr int64_t kMaxWidth = 1'000'000;
constexpr int64_t kMaxPrograms = 100'000;
constexpr int64_t kMaxHistoryTokens = 16'777'216;
constexpr size_t kMaxBuckets = 16;             // of one program besides the largest
constexpr size_t kMaxFunctions = 17;           // of an attention or head program
constexpr double kMaxFigure = 1e18;            // of a prediction: milliseconds, joules
constexpr double kMaxActivationLimit = 65504;  // of fp16

// A field that we do not know would be ignored, so it is refused.
Status CheckFields(const JsonObject& json, std::span<const std::string_view> known) {
  for (const auto& [key, value] : json.json().items()) {
    if (std::ranges::find(known, key) == known.end()) {
      return json.FieldError(key, "this build knows no such field; make the plan again");
    }
  }
  return OkStatus();
}

Status CheckVersion(const JsonObject& json) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t version,
                          json.Int("version", 0, std::numeric_limits<int64_t>::max()));
  if (version == Plan::kVersion) return OkStatus();
  return Unsupported(
      fmt::format("{}: is a plan of version {}, this build reads version {}; make "
                  "it again with `npumoe plan`",
                  json.name(), version, Plan::kVersion));
}

Result<int> ReadSize(const JsonObject& json, const char* key, int64_t max) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t value, json.Int(key, 1, max));
  return static_cast<int>(value);
}

Result<Estimate> ReadEstimate(const JsonObject& json, const char* key) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, json.Object(key));
  constexpr std::string_view kKnown[] = {"value", "spread"};
  NPUMOE_RETURN_IF_ERROR(CheckFields(object, kKnown));
  Estimate estimate;
  NPUMOE_ASSIGN_OR_RETURN(estimate.value, object.Number("value", 0, kMaxFigure));
  NPUMOE_ASSIGN_OR_RETURN(estimate.spread, object.Number("spread", 0, kMaxFigure));
  return estimate;
}

Result<Prediction> ReadPrediction(const JsonObject& plan, const char* key) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject json, plan.Object(key));
  constexpr std::string_view kKnown[] = {
      "prompt_tokens", "time_ms", "energy_j",  "cpu_busy_ms",      "npu_busy_ms", "launches",
      "padding",       "spill",   "npu_share", "npu_weight_bytes", "io_bytes"};
  NPUMOE_RETURN_IF_ERROR(CheckFields(json, kKnown));
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  Prediction p;
  NPUMOE_ASSIGN_OR_RETURN(p.prompt_tokens, json.Int("prompt_tokens", 0, kMax));
  NPUMOE_ASSIGN_OR_RETURN(p.time_ms, ReadEstimate(json, "time_ms"));
  NPUMOE_ASSIGN_OR_RETURN(p.energy_j, ReadEstimate(json, "energy_j"));
  NPUMOE_ASSIGN_OR_RETURN(p.cpu_busy_ms, ReadEstimate(json, "cpu_busy_ms"));
  NPUMOE_ASSIGN_OR_RETURN(p.npu_busy_ms, ReadEstimate(json, "npu_busy_ms"));
  NPUMOE_ASSIGN_OR_RETURN(p.launches, json.Int("launches", 0, kMax));
  NPUMOE_ASSIGN_OR_RETURN(p.padding, json.Number("padding", 0, 1));
  NPUMOE_ASSIGN_OR_RETURN(p.spill, json.Number("spill", 0, 1));
  NPUMOE_ASSIGN_OR_RETURN(p.npu_share, json.Number("npu_share", 0, 1));
  NPUMOE_ASSIGN_OR_RETURN(p.npu_weight_bytes, json.Int("npu_weight_bytes", 0, kMax));
  NPUMOE_ASSIGN_OR_RETURN(p.io_bytes, json.Int("io_bytes", 0, kMax));
  return p;
}

// A shared expert has a size of its own, so it shares no program.
Status CheckSharedAlone(const JsonObject& program, const std::vector<PlannedExpert>& experts,
                        const Plan& plan) {
  for (const PlannedExpert& expert : experts) {
    if (expert.expert < plan.num_experts || experts.size() == 1) continue;
    return program.FieldError(
        "experts", fmt::format("the shared expert, {}, needs a program of its own", expert.expert));
  }
  return OkStatus();
}

Result<std::vector<PlannedExpert>> ReadExperts(const JsonObject& program, const Plan& plan) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, program.Array("experts"));
  if (list->empty()) return program.FieldError("experts", "a program needs at least one expert");
  std::vector<PlannedExpert> experts;
  for (const Json& pair : *list) {
    const bool integers = pair.is_array() && pair.size() == 2 && pair[0].is_number_unsigned() &&
                          pair[1].is_number_unsigned();
    const uint64_t expert = integers ? pair[0].get<uint64_t>() : kMaxExperts;
    const uint64_t capacity = integers ? pair[1].get<uint64_t>() : 0;
    if (expert >= static_cast<uint64_t>(plan.expert_count()) || capacity < 1 ||
        capacity > kMaxCapacity) {
      return InvalidInput(fmt::format(
          "{}: experts[{}]: [expert, capacity] with an expert from 0 to {} and a capacity from 1 "
          "to {} is needed, found {}",
          program.name(), experts.size(), plan.expert_count() - 1, kMaxCapacity,
          JsonExcerpt(pair)));
    }
    experts.push_back({static_cast<int>(expert), static_cast<int64_t>(capacity)});
  }
  NPUMOE_RETURN_IF_ERROR(CheckSharedAlone(program, experts, plan));
  return experts;
}

// Capacities of one bucket, each from 1 to that of the next larger bucket.
Result<std::vector<int64_t>> ReadBucket(const Json& list, const PlannedProgram& program,
                                        const std::string& name) {
  std::vector<int64_t> bucket;
  for (const Json& capacity : list) {
    const bool fits =
        bucket.size() < program.experts.size() && capacity.is_number_unsigned() &&
        capacity.get<uint64_t>() >= 1 &&
        capacity.get<uint64_t>() <= static_cast<uint64_t>(program.experts[bucket.size()].capacity);
    if (!fits) break;
    bucket.push_back(capacity.get<int64_t>());
  }
  if (list.is_array() && bucket.size() == list.size() && bucket.size() == program.experts.size()) {
    return bucket;
  }
  return InvalidInput(
      fmt::format("{}: a bucket is a list of {} capacities, each from 1 to the expert's, found {}",
                  name, program.experts.size(), JsonExcerpt(list)));
}

Status ReadBuckets(const JsonObject& json, PlannedProgram& program) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, json.Array("smaller_buckets"));
  if (list->size() > kMaxBuckets) {
    return json.FieldError("smaller_buckets", fmt::format("at most {} are allowed, found {}",
                                                          kMaxBuckets, list->size()));
  }
  for (const Json& value : *list) {
    const std::string name =
        fmt::format("{}: smaller_buckets[{}]", json.name(), program.smaller_buckets.size());
    NPUMOE_ASSIGN_OR_RETURN(std::vector<int64_t> bucket, ReadBucket(value, program, name));
    if (program.form != GraphForm::kDenseChains &&
        std::ranges::adjacent_find(bucket, std::not_equal_to()) != bucket.end()) {
      return InvalidInput(
          fmt::format("{}: form {} gives all its experts one capacity", name, Name(program.form)));
    }
    if (!program.smaller_buckets.empty() &&
        !std::ranges::equal(program.smaller_buckets.back(), bucket, std::ranges::less_equal())) {
      return InvalidInput(
          fmt::format("{}: buckets ascend, this one has a capacity below the one before", name));
    }
    program.smaller_buckets.push_back(std::move(bucket));
  }
  return OkStatus();
}

Result<PlannedProgram> ReadProgram(const Json& value, const std::string& name, const Plan& plan) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject json, JsonObject::From(value, name));
  constexpr std::string_view kKnown[] = {"form", "experts", "smaller_buckets"};
  NPUMOE_RETURN_IF_ERROR(CheckFields(json, kKnown));
  NPUMOE_ASSIGN_OR_RETURN(const std::string form_name, json.String("form"));
  auto form = ParseGraphForm(form_name);
  if (!form.ok()) return form.status().WithContext(name);
  NPUMOE_ASSIGN_OR_RETURN(std::vector<PlannedExpert> experts, ReadExperts(json, plan));
  if (*form != GraphForm::kDenseChains) {
    for (const PlannedExpert& expert : experts) {
      if (expert.capacity == experts.front().capacity) continue;
      return InvalidInput(
          fmt::format("{}: form {} gives all its experts one capacity, found {} and {}; use form C",
                      name, form_name, experts.front().capacity, expert.capacity));
    }
  }
  PlannedProgram program{*form, std::move(experts)};
  if (json.Has("smaller_buckets")) NPUMOE_RETURN_IF_ERROR(ReadBuckets(json, program));
  return program;
}

Status CheckExpertsOnce(const LayerPlan& layer, const std::string& name, int num_experts) {
  std::vector<bool> seen(static_cast<size_t>(num_experts));
  for (const PlannedProgram& program : layer.programs) {
    for (const PlannedExpert& expert : program.experts) {
      const auto index = static_cast<size_t>(expert.expert);
      if (seen[index]) {
        return InvalidInput(fmt::format("{}: expert {} stands in it twice", name, expert.expert));
      }
      seen[index] = true;
    }
  }
  return OkStatus();
}

Result<LayerPlan> ReadLayer(const Json& value, const std::string& name, const Plan& plan) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject json, JsonObject::From(value, name));
  constexpr std::string_view kKnown[] = {"layer", "programs"};
  NPUMOE_RETURN_IF_ERROR(CheckFields(json, kKnown));
  const int64_t first = plan.layers.empty() ? 0 : plan.layers.back().layer + 1;
  NPUMOE_ASSIGN_OR_RETURN(const int64_t index, json.Int("layer", 0, kMaxLayers - 1));
  if (index < first) {
    return json.FieldError("layer", fmt::format("layers must ascend, so at least {}", first));
  }
  LayerPlan layer;
  layer.layer = static_cast<int>(index);
  NPUMOE_ASSIGN_OR_RETURN(const Json* programs, json.Array("programs"));
  for (const Json& program : *programs) {
    NPUMOE_ASSIGN_OR_RETURN(
        PlannedProgram read,
        ReadProgram(program, fmt::format("{}: programs[{}]", name, layer.programs.size()), plan));
    layer.programs.push_back(std::move(read));
  }
  NPUMOE_RETURN_IF_ERROR(CheckExpertsOnce(layer, name, plan.expert_count()));
  return layer;
}

Status ReadLayers(const JsonObject& json, Plan& plan) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* layers, json.Array("layers"));
  for (const Json& value : *layers) {
    const std::string name = fmt::format("{}: layers[{}]", json.name(), plan.layers.size());
    NPUMOE_ASSIGN_OR_RETURN(LayerPlan layer, ReadLayer(value, name, plan));
    plan.layers.push_back(std::move(layer));
  }
  return OkStatus();
}

// Numbers of a list that ascend within [min, max]; at least one, at most `most`.
template <class Number>
Status ReadAscending(const JsonObject& json, const char* key, int64_t min, int64_t max, size_t most,
                     std::vector<Number>& numbers) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, json.Array(key));
  if (list->size() > most) {
    return json.FieldError(key,
                           fmt::format("at most {} are allowed, found {}", most, list->size()));
  }
  int64_t lowest = min;
  for (const Json& value : *list) {
    const bool fits = value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t(max) &&
                      value.get<int64_t>() >= lowest;
    if (!fits) {
      return json.FieldError(key, fmt::format("numbers that ascend from {} to {} are needed, found "
                                              "{} where at least {} must follow",
                                              min, max, JsonExcerpt(value), lowest));
    }
    numbers.push_back(value.get<Number>());
    lowest = value.get<int64_t>() + 1;
  }
  return numbers.empty() ? json.FieldError(key, "at least one number is needed") : OkStatus();
}

Status ReadAttention(const JsonObject& plan_json, Plan& plan) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject json, plan_json.Object("attention"));
  constexpr std::string_view kKnown[] = {"layers", "history_tokens"};
  NPUMOE_RETURN_IF_ERROR(CheckFields(json, kKnown));
  AttentionPlan& attention = plan.attention;
  NPUMOE_RETURN_IF_ERROR(
      ReadAscending(json, "layers", 0, kMaxLayers - 1, kMaxLayers, attention.layers));
  NPUMOE_RETURN_IF_ERROR(ReadAscending(json, "history_tokens", 0, kMaxHistoryTokens, kMaxFunctions,
                                       attention.history_tokens));
  if (attention.history_tokens.front() == 0) return OkStatus();
  return json.FieldError("history_tokens", fmt::format("the first must be 0, found {}",
                                                       attention.history_tokens.front()));
}

Status ReadHead(const JsonObject& plan_json, Plan& plan) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject json, plan_json.Object("head"));
  constexpr std::string_view kKnown[] = {"rows", "slice_entries"};
  NPUMOE_RETURN_IF_ERROR(CheckFields(json, kKnown));
  NPUMOE_RETURN_IF_ERROR(
      ReadAscending(json, "rows", 1, kMaxCapacity, kMaxFunctions, plan.head.rows));
  NPUMOE_ASSIGN_OR_RETURN(plan.head.slice_entries, json.Int("slice_entries", 1, kMaxWidth));
  return OkStatus();
}

Status CheckProgramCount(const JsonObject& json, const Plan& plan) {
  if (plan.strategy == Strategy::kCpu && plan.ProgramCount() > 0) {
    return json.FieldError(
        "strategy", fmt::format("'cpu' plans no programs, found {} of them", plan.ProgramCount()));
  }
  if (plan.FunctionCount() <= kMaxPrograms) return OkStatus();
  return InvalidInput(fmt::format("{}: has {} programs with their buckets, allowed are {}",
                                  json.name(), plan.FunctionCount(), kMaxPrograms));
}

Status ReadChoices(const JsonObject& json, Plan& plan) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string strategy, json.String("strategy"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string objective, json.String("objective"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string overflow, json.String("overflow"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string weight_format, json.String("weight_format"));
  // Plans from before it could be chosen have none.
  NPUMOE_ASSIGN_OR_RETURN(const std::string dense_weight_format,
                          json.String("dense_weight_format", Name(WeightFormat::kF16)));
  const auto parsed_strategy = ParseStrategy(strategy);
  const auto parsed_objective = ParseObjective(objective);
  const auto parsed_overflow = ParseOverflowMode(overflow);
  const auto parsed_format = ParseWeightFormat(weight_format);
  const auto parsed_dense_format = ParseWeightFormat(dense_weight_format);
  for (const Status& status :
       {parsed_strategy.status(), parsed_objective.status(), parsed_overflow.status(),
        parsed_format.status(), parsed_dense_format.status()}) {
    if (!status.ok()) return status.WithContext(json.name());
  }
  plan.strategy = *parsed_strategy;
  plan.objective = *parsed_objective;
  plan.overflow = *parsed_overflow;
  plan.weight_format = *parsed_format;
  plan.dense_weight_format = *parsed_dense_format;
  NPUMOE_ASSIGN_OR_RETURN(plan.min_npu_share, json.Number("min_npu_share", 0, 1));
  return OkStatus();
}

Status ReadSizes(const JsonObject& json, Plan& plan) {
  NPUMOE_ASSIGN_OR_RETURN(plan.chunk_tokens, ReadSize(json, "chunk_tokens", kMaxChunkTokens));
  if (plan.chunk_tokens % kCalibrationBlockTokens != 0) {
    return json.FieldError("chunk_tokens", fmt::format("a multiple of {} is needed, found {}",
                                                       kCalibrationBlockTokens, plan.chunk_tokens));
  }
  NPUMOE_ASSIGN_OR_RETURN(plan.hidden_size, ReadSize(json, "hidden_size", kMaxWidth));
  NPUMOE_ASSIGN_OR_RETURN(plan.expert_intermediate_size,
                          ReadSize(json, "expert_intermediate_size", kMaxWidth));
  NPUMOE_ASSIGN_OR_RETURN(plan.num_experts, ReadSize(json, "num_experts", kMaxExperts));
  NPUMOE_ASSIGN_OR_RETURN(plan.experts_per_token,
                          ReadSize(json, "experts_per_token", plan.num_experts));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t shared, json.Int("shared_intermediate_size", 0, kMaxWidth));
  plan.shared_intermediate_size = static_cast<int>(shared);
  NPUMOE_ASSIGN_OR_RETURN(plan.activation_limit,
                          json.Number("activation_limit", 0, kMaxActivationLimit));
  return OkStatus();
}

Status ReadOrigins(const JsonObject& json, Plan& plan) {
  NPUMOE_ASSIGN_OR_RETURN(plan.model_hash, json.String("model_hash"));
  NPUMOE_ASSIGN_OR_RETURN(plan.calibration_hash, json.String("calibration_hash"));
  NPUMOE_ASSIGN_OR_RETURN(plan.profile_name, json.String("profile_name"));
  NPUMOE_ASSIGN_OR_RETURN(plan.profile_hash, json.String("profile_hash"));
  NPUMOE_ASSIGN_OR_RETURN(const Json* notes, json.Array("notes"));
  for (const Json& note : *notes) {
    if (!note.is_string()) return json.FieldError("notes", "a list of strings is needed");
    plan.notes.push_back(note.get<std::string>());
  }
  return OkStatus();
}

}  // namespace

Result<Plan> ParsePlan(std::string_view text, const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const Json value, ParseJson(text, name));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject json, JsonObject::From(value, name));
  NPUMOE_RETURN_IF_ERROR(CheckVersion(json));
  constexpr std::string_view kKnown[] = {"version",
                                         "strategy",
                                         "objective",
                                         "overflow",
                                         "min_npu_share",
                                         "weight_format",
                                         "dense_weight_format",
                                         "chunk_tokens",
                                         "hidden_size",
                                         "expert_intermediate_size",
                                         "num_experts",
                                         "model_hash",
                                         "profile_name",
                                         "profile_hash",
                                         "experts_per_token",
                                         "shared_intermediate_size",
                                         "activation_limit",
                                         "calibration_hash",
                                         "notes",
                                         "predicted",
                                         "layers",
                                         "attention",
                                         "head",
                                         "predicted_cpu"};
  NPUMOE_RETURN_IF_ERROR(CheckFields(json, kKnown));
  Plan plan;
  NPUMOE_RETURN_IF_ERROR(ReadChoices(json, plan));
  NPUMOE_RETURN_IF_ERROR(ReadSizes(json, plan));
  NPUMOE_RETURN_IF_ERROR(ReadOrigins(json, plan));
  NPUMOE_ASSIGN_OR_RETURN(plan.predicted, ReadPrediction(json, "predicted"));
  NPUMOE_ASSIGN_OR_RETURN(plan.predicted_cpu, ReadPrediction(json, "predicted_cpu"));
  NPUMOE_RETURN_IF_ERROR(ReadLayers(json, plan));
  if (json.Has("attention")) NPUMOE_RETURN_IF_ERROR(ReadAttention(json, plan));
  if (json.Has("head")) NPUMOE_RETURN_IF_ERROR(ReadHead(json, plan));
  NPUMOE_RETURN_IF_ERROR(CheckProgramCount(json, plan));
  return plan;
}

}  // namespace npumoe
