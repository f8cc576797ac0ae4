// The programs of a plan (plan.h): counted, listed, named, and which function of one serves what.
#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "plan/plan.h"

namespace npumoe {

int64_t PlannedProgram::CapacityRows() const {
  int64_t rows = 0;
  for (const PlannedExpert& expert : experts) rows += expert.capacity;
  return rows;
}

std::vector<std::vector<int64_t>> PlannedProgram::Buckets() const {
  std::vector<std::vector<int64_t>> buckets = smaller_buckets;
  buckets.emplace_back();
  for (const PlannedExpert& expert : experts) buckets.back().push_back(expert.capacity);
  return buckets;
}

bool AttentionPlan::Has(int layer) const {
  return std::binary_search(layers.begin(), layers.end(), layer);
}

std::optional<size_t> AttentionPlan::FunctionFor(int64_t tokens) const {
  const auto found = std::lower_bound(history_tokens.begin(), history_tokens.end(), tokens);
  if (found == history_tokens.end()) return std::nullopt;
  return static_cast<size_t>(found - history_tokens.begin());
}

size_t HeadPlan::FunctionFor(int64_t wanted) const {
  NPUMOE_CHECK(!rows.empty());
  const auto found = std::lower_bound(rows.begin(), rows.end() - 1, wanted);
  return static_cast<size_t>(found - rows.begin());
}

int64_t Plan::ProgramCount() const { return static_cast<int64_t>(ProgramsOf(*this).size()); }

int64_t Plan::FunctionCount() const {
  int64_t count = static_cast<int64_t>(head.rows.size());
  count += static_cast<int64_t>(attention.layers.size() * attention.history_tokens.size());
  for (const LayerPlan& layer : layers) {
    for (const PlannedProgram& program : layer.programs) count += program.FunctionCount();
  }
  return count;
}

void Plan::RemovePrograms() {
  for (LayerPlan& layer : layers) layer.programs.clear();
  attention = {};
  head = {};
}

const char* Name(ProgramKind kind) {
  switch (kind) {
    case ProgramKind::kExperts:
      return "experts";
    case ProgramKind::kAttention:
      return "attention";
    case ProgramKind::kHead:
      return "head";
  }
  return "";
}

std::string Describe(const ProgramId& id) {
  switch (id.kind) {
    case ProgramKind::kExperts:
      return fmt::format("layer {}, program {}", id.layer, id.index);
    case ProgramKind::kAttention:
      return fmt::format("layer {}, attention", id.layer);
    case ProgramKind::kHead:
      return "head";
  }
  return "";
}

std::vector<ProgramId> ProgramsOf(const Plan& plan) {
  std::vector<ProgramId> ids;
  for (const LayerPlan& layer : plan.layers) {
    for (size_t p = 0; p < layer.programs.size(); ++p) {
      ids.push_back({ProgramKind::kExperts, layer.layer, static_cast<int>(p)});
    }
  }
  for (const int layer : plan.attention.layers) ids.push_back({ProgramKind::kAttention, layer, 0});
  if (!plan.head.rows.empty()) ids.push_back({ProgramKind::kHead, 0, 0});
  return ids;
}

const PlannedProgram& ExpertProgramOf(const Plan& plan, const ProgramId& id) {
  NPUMOE_CHECK(id.kind == ProgramKind::kExperts);
  const auto layer =
      std::lower_bound(plan.layers.begin(), plan.layers.end(), id.layer,
                       [](const LayerPlan& l, int wanted) { return l.layer < wanted; });
  NPUMOE_CHECK(layer != plan.layers.end() && layer->layer == id.layer);
  return layer->programs[static_cast<size_t>(id.index)];
}

}  // namespace npumoe
