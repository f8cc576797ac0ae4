#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <utility>

#include "convert/convert.h"
#include "convert/elements.h"
#include "convert/metadata.h"
#include "convert/rows.h"
#include "model/gguf/gguf_config.h"
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
  bool is_view;  // looking at it costs nothing
};

std::string NameForMessages(const ConvertSource& source, const ExpectedTensor& expected) {
  return fmt::format("{}: tensor '{}'", source.path.string(), expected.name);
}

Status WriteOne(const ConvertSource& source, const TensorPlan& plan, int expert,
                const ByteSink& sink) {
  ExpectedTensor expected = plan.expected;
  if (plan.experts > 0) expected.expert = expert;
  NPUMOE_ASSIGN_OR_RETURN(const auto found, source.find(expected));
  NPUMOE_CHECK(found.has_value());
  const std::string name = NameForMessages(source, expected);
  NPUMOE_RETURN_IF_ERROR(CheckSameType(name, expert, found->view.dtype, plan.source_type));
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

// Plans every tensor, after its first expert; looks at the others where that is cheap, so that what
// is missing, left over or of another type shows before anything is written.
class Planner {
 public:
  Planner(const ConvertSource& source, const TypePolicy& policy, ConvertReport& report)
      : source_(source), policy_(policy), report_(report), form_(GgufFormOf(source.config)) {}

  Result<std::vector<TensorPlan>> Run() {
    NPUMOE_RETURN_IF_ERROR(
        ForEachGgufTensor(form_, [this](const ExpectedTensor& expected) { return Add(expected); }));
    NPUMOE_RETURN_IF_ERROR(source_.refuse_left_over());
    if (!kept_blocks_.empty() && !makes_blocks_) {
      return InvalidInput(fmt::format(
          "{}: '{}' is quantised already, and no other matrix would become {}; add --requantize, "
          "or copy the model as it is with --type keep",
          source_.path.string(), kept_blocks_, Name(policy_.wanted)));
    }
    return std::move(plans_);
  }

 private:
  Status Add(const ExpectedTensor& expected) {
    const bool stacked = IsStacked(expected.role);
    if (stacked && expected.expert > 0) return CheckExpert(expected);
    NPUMOE_ASSIGN_OR_RETURN(const auto found, source_.find(expected));
    if (!found) return OkStatus();
    const TypedTensor tensor = {expected.role, found->view.dtype, expected.shape};
    const auto choice = TargetType(policy_, tensor);
    if (!choice.ok()) {
      return Status(choice.status().code(),
                    NameForMessages(source_, expected) + " " + choice.status().message());
    }
    report_.Count(policy_, tensor, *choice);
    if (choice->cause == TypeCause::kQuantised) kept_blocks_ = expected.name;
    makes_blocks_ = makes_blocks_ || (IsQuantized(choice->type) && choice->type != tensor.type);
    plans_.push_back({expected, tensor.type, choice->type,
                      stacked ? source_.config.moe.num_experts : 0,
                      ChangesRows(expected.role, source_.config.rope.pairs, form_.rope.pairs),
                      found->storage == nullptr});
    return OkStatus();
  }

  Status CheckExpert(const ExpectedTensor& expected) {
    const TensorPlan& plan = plans_.back();
    if (!plan.is_view) return OkStatus();
    NPUMOE_ASSIGN_OR_RETURN(const auto found, source_.find(expected));
    NPUMOE_CHECK(found.has_value());
    return CheckSameType(NameForMessages(source_, plan.expected), expected.expert,
                         found->view.dtype, plan.source_type);
  }

  const ConvertSource& source_;
  const TypePolicy& policy_;
  ConvertReport& report_;
  ModelConfig form_;
  std::vector<TensorPlan> plans_;
  std::string kept_blocks_;    // the last tensor whose blocks stay though others were wanted
  bool makes_blocks_ = false;  // another one gets blocks
};

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

// Whether what is about to be written says the same as what was read.
Status CheckMetadata(const GgufMetadataBuilder& metadata, const std::vector<OutputTensor>& tensors,
                     const ModelConfig& config, const std::string& out) {
  ByteCursor cursor(std::as_bytes(std::span(metadata.bytes())));
  NPUMOE_ASSIGN_OR_RETURN(const GgufMetadata keys,
                          GgufMetadata::Read(cursor, metadata.count(), out));
  std::map<std::string, TensorView> views;
  std::vector<std::vector<std::byte>> contents;
  for (const OutputTensor& tensor : tensors) {
    views[tensor.name] = {tensor.dtype, tensor.shape, nullptr};
    if (tensor.name != kGgufLongFactors && tensor.name != kGgufShortFactors) continue;
    std::vector<std::byte>& bytes = contents.emplace_back();
    NPUMOE_RETURN_IF_ERROR(tensor.write([&bytes](std::string_view piece) {
      const auto raw = std::as_bytes(std::span(piece));
      bytes.insert(bytes.end(), raw.begin(), raw.end());
      return OkStatus();
    }));
    views[tensor.name].data = bytes.data();
  }
  NPUMOE_ASSIGN_OR_RETURN(const ModelConfig read, ConfigFromGguf(keys, views));
  GgufMetadataBuilder expected;
  GgufMetadataBuilder found;
  AddConfigToGguf(config, expected);
  AddConfigToGguf(read, found);
  if (expected.bytes() == found.bytes()) return OkStatus();
  return Unsupported(out + ": GGUF cannot say everything that this model's config does");
}

}  // namespace

Result<ConvertReport> ConvertToGguf(const ConvertSource& source, const std::filesystem::path& out,
                                    const TypePolicy& policy, const WriteProgress& progress) {
  ConvertReport report;
  report.path = out.string();
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<TensorPlan> plans,
                          Planner(source, policy, report).Run());
  std::vector<OutputTensor> tensors;
  for (const TensorPlan& plan : plans) tensors.push_back(OutputOf(source, plan));
  AddRopeFactors(source.config, tensors);
  GgufMetadataBuilder metadata;
  NPUMOE_RETURN_IF_ERROR(AddModelMetadata(source, metadata, report.notes));
  AddFileType(tensors, metadata);
  if (policy.rule == TypeRule::kWanted) metadata.AddString(kWantedTypeKey, Name(policy.wanted));
  NPUMOE_RETURN_IF_ERROR(CheckMetadata(metadata, tensors, source.config, out.string()));
  NPUMOE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(out));
  NPUMOE_RETURN_IF_ERROR(WriteGgufTo(file, metadata, tensors, progress));
  report.bytes = file.size();
  report.tensors = tensors.size();
  NPUMOE_RETURN_IF_ERROR(file.Commit());
  return report;
}

}  // namespace npumoe
