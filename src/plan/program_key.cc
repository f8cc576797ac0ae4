// ProgramKey (lowering.h).
#include <bit>
#include <string_view>

#include "base/hash.h"
#include "plan/lowering.h"

namespace npumoe {
namespace {

// Part of every program's key: rises whenever equal plans would give other bytes.
constexpr int64_t kProgramFormatVersion = 5;

WeightFormat FormatOf(const Plan& plan, ProgramKind kind) {
  return kind == ProgramKind::kExperts ? plan.weight_format : plan.dense_weight_format;
}

Hasher Begin(const Plan& plan, ProgramKind kind) {
  Hasher hasher;
  hasher.Add(std::string_view("npumoe program")).Add(kProgramFormatVersion);
  hasher.Add(std::string_view(Name(kind))).Add(std::string_view(plan.model_hash));
  hasher.Add(std::string_view(Name(FormatOf(plan, kind))));
  return hasher;
}

// The rest of their shape is the model's, which its hash stands for.
void AddAttention(const Plan& plan, const ProgramId& id, Hasher& hasher) {
  hasher.Add(int64_t{id.layer}).Add(int64_t{plan.chunk_tokens});
  for (const int64_t history : plan.attention.history_tokens) hasher.Add(history);
}

void AddHead(const Plan& plan, Hasher& hasher) {
  hasher.Add(plan.head.slice_entries);
  for (const int64_t rows : plan.head.rows) hasher.Add(rows);
}

}  // namespace

std::string ProgramKey(const Plan& plan, const LayerPlan& layer, const PlannedProgram& program) {
  Hasher hasher = Begin(plan, ProgramKind::kExperts);
  hasher.Add(int64_t{plan.hidden_size}).Add(int64_t{plan.expert_intermediate_size});
  hasher.Add(int64_t{plan.shared_intermediate_size});
  hasher.Add(std::bit_cast<int64_t>(plan.activation_limit));
  hasher.Add(int64_t{layer.layer}).Add(std::string_view(Name(program.form)));
  // With their numbers: a bucket's capacities must not read as an expert.
  hasher.Add(static_cast<int64_t>(program.experts.size()));
  for (const PlannedExpert& expert : program.experts) {
    hasher.Add(int64_t{expert.expert}).Add(expert.capacity);
  }
  hasher.Add(static_cast<int64_t>(program.smaller_buckets.size()));
  for (const std::vector<int64_t>& bucket : program.smaller_buckets) {
    for (const int64_t capacity : bucket) hasher.Add(capacity);
  }
  return hasher.Hex();
}

std::string ProgramKey(const Plan& plan, const ProgramId& id) {
  if (id.kind == ProgramKind::kExperts) {
    return ProgramKey(plan, {id.layer, {}}, ExpertProgramOf(plan, id));
  }
  Hasher hasher = Begin(plan, id.kind);
  if (id.kind == ProgramKind::kAttention) AddAttention(plan, id, hasher);
  if (id.kind == ProgramKind::kHead) AddHead(plan, hasher);
  return hasher.Hex();
}

}  // namespace npumoe
