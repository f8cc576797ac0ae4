#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "convert/convert.h"
#include "convert/elements.h"
#include "convert/metadata.h"
#include "convert/rows.h"
#include "model/gguf/gguf_config.h"
#include "model/gguf/gguf_file.h"
#include "model/gguf/gguf_weights.h"
#include "model/gguf/gguf_writer.h"

namespace npumoe {
namespace {

// general.file_type of other engines: what most of a file's weights are.
constexpr std::pair<DType, uint32_t> kFileTypes[] = {
    {DType::kF32, 0},   {DType::kF16, 1},   {DType::kQ4_0, 2},  {DType::kQ4_1, 3},
    {DType::kQ8_0, 7},  {DType::kQ5_0, 8},  {DType::kQ5_1, 9},  {DType::kQ4_K, 14},
    {DType::kQ5_K, 16}, {DType::kQ6_K, 18}, {DType::kBF16, 32}, {DType::kMXFP4, 38},
};
constexpr uint32_t kQuantizationVersion = 2;  // of the blocks' layout; needed where there are any

bool IsStacked(TensorRole role) { return ScopeOf(role) == RoleScope::kExpert; }

struct TensorPlan {
  ExpectedTensor expected;  // of the first expert
  DType source_type;
  DType type;
  int experts;  // 0: one tensor
  bool reorder_rows;
};

Status WriteOne(const ConvertSource& source, const TensorPlan& plan, int expert,
                const ByteSink& sink) {
  ExpectedTensor expected = plan.expected;
  if (plan.experts > 0) expected.expert = expert;
  NPUMOE_ASSIGN_OR_RETURN(const auto found, source.find(expected));
  NPUMOE_CHECK(found.has_value());
  const std::string name = fmt::format("{}: tensor '{}'", source.path.string(), expected.name);
  if (found->view.dtype != plan.source_type) {
    return Unsupported(
        fmt::format("{}: expert {} is {}, the first one {}; a GGUF keeps all experts "
                    "of a layer in one type",
                    name, expert, Name(found->view.dtype), Name(plan.source_type)));
  }
  const auto convert = [&](const TensorView& view) {
    return ConvertElements(view, plan.type, name, sink);
  };
  if (!plan.reorder_rows) return convert(found->view);
  const AttentionConfig& attention = source.config.attention;
  return VisitReorderedHeads(found->view, attention.head_dim, RopePairs::kInterleaved, convert);
}

OutputTensor OutputOf(const ConvertSource& source, const TensorPlan& plan) {
  OutputTensor output;
  output.name = plan.expected.name;
  output.dtype = plan.type;
  std::vector<int64_t> axes(plan.expected.shape.axes().begin(), plan.expected.shape.axes().end());
  if (plan.experts > 0) axes.insert(axes.begin(), plan.experts);
  output.shape = Shape(axes);
  output.write = [&source, plan](const ByteSink& sink) -> Status {
    for (int expert = 0; expert < std::max(1, plan.experts); ++expert) {
      NPUMOE_RETURN_IF_ERROR(WriteOne(source, plan, expert, sink));
    }
    return OkStatus();
  };
  return output;
}

// Plans every tensor; looks at the first expert of each layer for its type.
Result<std::vector<TensorPlan>> PlanTensors(const ConvertSource& source, const TypePolicy& policy,
                                            ConvertReport& report) {
  const ModelConfig form = GgufFormOf(source.config);
  std::vector<TensorPlan> plans;
  const auto plan = [&](const ExpectedTensor& expected) -> Status {
    if (IsStacked(expected.role) && expected.expert > 0) return OkStatus();
    NPUMOE_ASSIGN_OR_RETURN(const auto found, source.find(expected));
    if (!found) return OkStatus();
    std::string why;
    const DType source_type = found->view.dtype;
    const DType type = TargetType(policy, expected.role, source_type, expected.shape, &why);
    if (!why.empty()) report.fallbacks.push_back({expected.name, policy.wanted, type, why});
    plans.push_back({expected, source_type, type,
                     IsStacked(expected.role) ? source.config.moe.num_experts : 0,
                     ChangesRows(expected.role, source.config.rope.pairs, form.rope.pairs)});
    return OkStatus();
  };
  NPUMOE_RETURN_IF_ERROR(ForEachGgufTensor(form, plan));
  return plans;
}

// LongRoPE's factors, which other engines look for among the tensors.
void AddRopeFactors(const ModelConfig& config, std::vector<OutputTensor>& tensors) {
  const auto* rope = std::get_if<LongRopeScaling>(&config.rope.scaling);
  if (rope == nullptr) return;
  for (const auto& [name, factors] : {std::pair(kGgufLongFactors, rope->long_factors),
                                      std::pair(kGgufShortFactors, rope->short_factors)}) {
    const std::vector<float> values(factors.begin(), factors.end());
    tensors.push_back({name, DType::kF32, Shape({static_cast<int64_t>(values.size())}),
                       [values](const ByteSink& sink) {
                         return sink({reinterpret_cast<const char*>(values.data()),
                                      values.size() * sizeof(float)});
                       }});
  }
}

// The type that most weights have.
void AddFileType(const std::vector<OutputTensor>& tensors, GgufMetadataBuilder& builder) {
  std::array<int64_t, static_cast<size_t>(DType::kMXFP4) + 1> elements{};
  bool any_blocks = false;
  for (const OutputTensor& tensor : tensors) {
    elements[static_cast<size_t>(tensor.dtype)] += tensor.shape.elements();
    any_blocks = any_blocks || IsQuantized(tensor.dtype);
  }
  const auto most = std::ranges::max_element(elements) - elements.begin();
  for (const auto& [type, number] : kFileTypes) {
    if (type == static_cast<DType>(most)) builder.AddU32("general.file_type", number);
  }
  if (any_blocks) builder.AddU32("general.quantization_version", kQuantizationVersion);
}

// What was written says the same as what was read.
Status CheckWritten(const AtomicFile& file, const ModelConfig& config) {
  NPUMOE_ASSIGN_OR_RETURN(const GgufFile written, GgufFile::Open(file.temporary_path()));
  NPUMOE_ASSIGN_OR_RETURN(const ModelConfig read,
                          ConfigFromGguf(written.metadata(), written.tensors()));
  GgufMetadataBuilder expected;
  GgufMetadataBuilder found;
  AddConfigToGguf(config, expected);
  AddConfigToGguf(read, found);
  if (expected.bytes() == found.bytes()) return OkStatus();
  return Unsupported(
      "GGUF cannot say everything that this model's config does; nothing was written");
}

}  // namespace

Result<ConvertReport> ConvertToGguf(const ConvertSource& source, const std::filesystem::path& out,
                                    const TypePolicy& policy, const WriteProgress& progress) {
  ConvertReport report;
  report.path = out.string();
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<TensorPlan> plans, PlanTensors(source, policy, report));
  std::vector<OutputTensor> tensors;
  for (const TensorPlan& plan : plans) tensors.push_back(OutputOf(source, plan));
  AddRopeFactors(source.config, tensors);
  GgufMetadataBuilder metadata;
  NPUMOE_RETURN_IF_ERROR(AddModelMetadata(source, metadata, report.notes));
  AddFileType(tensors, metadata);
  if (policy.rule == TypeRule::kWanted) metadata.AddString(kWantedTypeKey, Name(policy.wanted));
  NPUMOE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(out));
  NPUMOE_RETURN_IF_ERROR(WriteGgufTo(file, metadata, tensors, progress));
  NPUMOE_RETURN_IF_ERROR(source.refuse_left_over());
  NPUMOE_RETURN_IF_ERROR(CheckWritten(file, source.config));
  report.bytes = file.size();
  report.tensors = tensors.size();
  NPUMOE_RETURN_IF_ERROR(file.Commit());
  return report;
}

}  // namespace npumoe
