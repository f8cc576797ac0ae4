#include "convert/folder_tensors.h"

#include <fmt/format.h>

#include <utility>

#include "convert/elements.h"
#include "convert/fused.h"
#include "convert/rows.h"
#include "model/gguf/hub_config.h"

namespace npumoe {
namespace {

class FolderWriter {
 public:
  FolderWriter(const ConvertSource& source, const TypePolicy& policy, ConvertReport& report)
      : source_(source),
        policy_(policy),
        report_(report),
        form_(HubFormOf(source.config)),
        family_(*FindFamily(source.config.family)) {}

  Result<std::vector<OutputTensor>> Run() {
    const auto add = [this](const ExpectedTensor& expected) -> Status {
      const bool by_expert = ScopeOf(expected.role) == RoleScope::kExpert;
      const bool is_fused = family_.published_experts == PublishedExperts::kFused;
      return by_expert && is_fused ? AddFused(expected) : AddSingle(expected);
    };
    NPUMOE_RETURN_IF_ERROR(ForEachExpectedTensor(family_, form_, add));
    NPUMOE_RETURN_IF_ERROR(source_.refuse_left_over());
    return std::move(tensors_);
  }

 private:
  Result<DType> TypeOf(const ExpectedTensor& expected, DType found, bool may_be_mxfp4);
  Status AddSingle(const ExpectedTensor& expected);
  Status AddFused(const ExpectedTensor& expected);
  // The published layout for parts of this type.
  const FusedTensor* FusedFor(TensorRole role, DType dtype) const;

  const ConvertSource& source_;
  const TypePolicy& policy_;
  ConvertReport& report_;
  ModelConfig form_;
  const ModelFamily& family_;
  bool experts_are_views_ = false;  // of the last fused role: looking at them costs nothing
  std::vector<OutputTensor> tensors_;
};

Result<DType> FolderWriter::TypeOf(const ExpectedTensor& expected, DType found, bool may_be_mxfp4) {
  const TypedTensor tensor = {expected.role, found, expected.shape, may_be_mxfp4};
  const auto choice = TargetType(policy_, tensor);
  if (!choice.ok()) {
    return Status(choice.status().code(), fmt::format("{}: tensor '{}' {}", source_.path.string(),
                                                      expected.name, choice.status().message()));
  }
  report_.Count(policy_, tensor, *choice);
  return choice->type;
}

Status Write(const ConvertSource& source, const ExpectedTensor& expected, DType dtype,
             bool reorder_rows, const ByteSink& sink) {
  NPUMOE_ASSIGN_OR_RETURN(const auto found, source.find(expected));
  NPUMOE_CHECK(found.has_value());
  const std::string name = fmt::format("{}: tensor '{}'", source.path.string(), expected.name);
  const auto convert = [&](const TensorView& view) {
    return ConvertElements(view, dtype, name, sink);
  };
  if (!reorder_rows) return convert(found->view);
  return VisitReorderedHeads(found->view, source.config.attention.head_dim, RopePairs::kHalves,
                             convert);
}

Status FolderWriter::AddSingle(const ExpectedTensor& expected) {
  NPUMOE_ASSIGN_OR_RETURN(const auto found, source_.find(expected));
  if (!found) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const DType dtype, TypeOf(expected, found->view.dtype, false));
  const bool reorder = ChangesRows(expected.role, source_.config.rope.pairs, form_.rope.pairs);
  const ConvertSource& source = source_;
  tensors_.push_back({expected.name, dtype, expected.shape,
                      [&source, expected, dtype, reorder](const ByteSink& sink) {
                        return Write(source, expected, dtype, reorder, sink);
                      }});
  return OkStatus();
}

const FusedTensor* FolderWriter::FusedFor(TensorRole role, DType dtype) const {
  for (const FusedTensor& fused : family_.fused) {
    if (fused.roles[0] != role) continue;
    if ((fused.encoding == FusedEncoding::kMxfp4) == (dtype == DType::kMXFP4)) return &fused;
  }
  return nullptr;
}

// Called for every expert and role; writes a layer's tensor when its first role comes.
Status FolderWriter::AddFused(const ExpectedTensor& expected) {
  if (expected.expert > 0 && !experts_are_views_) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const auto found, source_.find(expected));
  NPUMOE_CHECK(found.has_value());
  if (expected.expert > 0) return OkStatus();
  experts_are_views_ = found->storage == nullptr;
  const bool has_mxfp4 = FusedFor(expected.role, DType::kMXFP4) != nullptr;
  NPUMOE_ASSIGN_OR_RETURN(const DType dtype, TypeOf(expected, found->view.dtype, has_mxfp4));
  const FusedTensor* fused = FusedFor(expected.role, dtype);
  if (fused == nullptr) return OkStatus();  // the second role of a tensor
  const auto fetch = [&source = source_, dtype](TensorRole role, int layer,
                                                int expert) -> Result<ExpertPart> {
    ExpectedTensor wanted;
    wanted.role = role;
    wanted.layer = layer;
    wanted.expert = expert;
    ExpertPart part;
    part.shape = ShapeOf(role, source.config);
    NPUMOE_RETURN_IF_ERROR(Write(source, wanted, dtype, false, [&part](std::string_view bytes) {
      const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
      part.bytes.insert(part.bytes.end(), begin, begin + bytes.size());
      return OkStatus();
    }));
    return part;
  };
  for (OutputTensor& tensor :
       FusedOutputs(*fused, expected.layer, form_.moe.num_experts, expected.shape, dtype, fetch)) {
    tensors_.push_back(std::move(tensor));
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<OutputTensor>> FolderTensors(const ConvertSource& source,
                                                const TypePolicy& policy, ConvertReport& report) {
  return FolderWriter(source, policy, report).Run();
}

}  // namespace npumoe
