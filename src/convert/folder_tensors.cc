#include "convert/folder_tensors.h"

#include <fmt/format.h>

#include <utility>

#include "convert/elements.h"
#include "convert/fused.h"
#include "convert/rows.h"
#include "model/gguf/hub_config.h"

namespace npumoe {
namespace {

std::string TensorOf(const ConvertSource& source, const std::string& tensor) {
  return fmt::format("{}: tensor '{}'", source.path.string(), tensor);
}

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
  Result<TypeChoice> TypeOf(const TypedTensor& tensor, const std::string& name) const;
  Status AddSingle(const ExpectedTensor& expected);
  Status AddFused(const ExpectedTensor& expected);
  Status AddLayer(const FusedTensor& fused, const ExpectedTensor& first);
  Status CheckExpert(const ExpectedTensor& expected);
  Result<std::vector<TypedTensor>> PartsOf(const FusedTensor& fused, int layer);
  Result<DType> TypeOfAll(const std::vector<TypedTensor>& parts, int layer);
  // The published layout for parts of this type; null: `role` is the first one of none.
  const FusedTensor* FusedFor(TensorRole role, DType dtype) const;
  std::string NameForMessages(TensorRole role, int layer) const {
    return TensorOf(source_, NameOf(family_, role, layer, 0));
  }

  const ConvertSource& source_;
  const TypePolicy& policy_;
  ConvertReport& report_;
  ModelConfig form_;
  const ModelFamily& family_;
  // Of the last fused role:
  bool experts_are_views_ = false;  // looking at them costs nothing
  DType expert_type_ = DType::kF32;
  std::vector<OutputTensor> tensors_;
};

Result<TypeChoice> FolderWriter::TypeOf(const TypedTensor& tensor, const std::string& name) const {
  const auto choice = TargetType(policy_, tensor);
  if (choice.ok()) return choice;
  return Status(choice.status().code(), name + " " + choice.status().message());
}

Status Write(const ConvertSource& source, const ExpectedTensor& expected, DType dtype,
             bool reorder_rows, const ByteSink& sink) {
  NPUMOE_ASSIGN_OR_RETURN(const auto found, source.find(expected));
  NPUMOE_CHECK(found.has_value());
  const std::string name = TensorOf(source, expected.name);
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
  const TypedTensor tensor = {expected.role, found->view.dtype, expected.shape};
  NPUMOE_ASSIGN_OR_RETURN(const TypeChoice choice,
                          TypeOf(tensor, TensorOf(source_, expected.name)));
  report_.Count(policy_, tensor, choice);
  const DType dtype = choice.type;
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

// The first expert of every role that `fused` holds.
Result<std::vector<TypedTensor>> FolderWriter::PartsOf(const FusedTensor& fused, int layer) {
  std::vector<TypedTensor> parts;
  for (size_t i = 0; i < (fused.rows == FusedRows::kOneRole ? 1 : 2); ++i) {
    ExpectedTensor expected;
    expected.role = fused.roles[i];
    expected.layer = layer;
    NPUMOE_ASSIGN_OR_RETURN(const auto found, source_.find(expected));
    NPUMOE_CHECK(found.has_value());
    parts.push_back({expected.role, found->view.dtype, ShapeOf(expected.role, form_),
                     FusedFor(fused.roles[0], DType::kMXFP4) != nullptr});
  }
  return parts;
}

// One type for all parts of a tensor, which holds what each would have for itself.
Result<DType> FolderWriter::TypeOfAll(const std::vector<TypedTensor>& parts, int layer) {
  std::vector<TypeChoice> choices;
  for (const TypedTensor& part : parts) {
    NPUMOE_ASSIGN_OR_RETURN(TypeChoice choice, TypeOf(part, NameForMessages(part.role, layer)));
    choices.push_back(std::move(choice));
  }
  const TypedTensor& last = parts.back();
  const DType first_type = choices.front().type, last_type = choices.back().type;
  const DType type = TypeHolding(first_type, last_type);
  if (first_type != last_type && policy_.rule == TypeRule::kKeep) {
    return InvalidInput(fmt::format(
        "{} is {}, '{}' is {}, and a folder of this family has both in one tensor, so --type keep "
        "is impossible; leave --type out ({}), or name f32, f16 or bf16",
        NameForMessages(parts.front().role, layer), Name(first_type),
        NameOf(family_, last.role, layer, 0), Name(last_type), Name(type)));
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    if (choices[i].type != type) {
      const TypedTensor& other = parts[parts.size() - 1 - i];
      choices[i] = {
          type, TypeCause::kPlainFile,
          fmt::format("a folder of this family has them in one tensor with others that are {}",
                      Name(other.type))};
    }
    report_.Count(policy_, parts[i], choices[i]);
  }
  return type;
}

// Called for every expert and role: plans a layer's tensor when its first role comes, and looks at
// the others where that is cheap, so that what is missing or left over shows before anything is
// written.
Status FolderWriter::AddFused(const ExpectedTensor& expected) {
  if (expected.expert > 0) return CheckExpert(expected);
  NPUMOE_ASSIGN_OR_RETURN(const auto found, source_.find(expected));
  NPUMOE_CHECK(found.has_value());
  experts_are_views_ = found->storage == nullptr;
  expert_type_ = found->view.dtype;
  for (const FusedTensor& fused : family_.fused) {
    if (fused.roles[0] == expected.role) return AddLayer(fused, expected);
  }
  return OkStatus();  // the second role of a tensor
}

Status FolderWriter::CheckExpert(const ExpectedTensor& expected) {
  if (!experts_are_views_) return OkStatus();
  NPUMOE_ASSIGN_OR_RETURN(const auto found, source_.find(expected));
  NPUMOE_CHECK(found.has_value());
  return CheckSameType(NameForMessages(expected.role, expected.layer), expected.expert,
                       found->view.dtype, expert_type_);
}

// `fused`: any of the layouts that hold these roles.
Status FolderWriter::AddLayer(const FusedTensor& fused, const ExpectedTensor& first) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<TypedTensor> parts, PartsOf(fused, first.layer));
  NPUMOE_ASSIGN_OR_RETURN(const DType dtype, TypeOfAll(parts, first.layer));
  const FusedTensor* layout = FusedFor(first.role, dtype);
  NPUMOE_CHECK(layout != nullptr);
  const auto fetch = [&source = source_, &family = family_, parts, dtype](
                         TensorRole role, int layer, int expert) -> Result<ExpertPart> {
    ExpectedTensor wanted;
    wanted.role = role;
    wanted.layer = layer;
    wanted.expert = expert;
    NPUMOE_ASSIGN_OR_RETURN(const auto found, source.find(wanted));
    NPUMOE_CHECK(found.has_value());
    const std::string name = TensorOf(source, NameOf(family, role, layer, expert));
    const DType type = (role == parts.front().role ? parts.front() : parts.back()).type;
    NPUMOE_RETURN_IF_ERROR(CheckSameType(name, expert, found->view.dtype, type));
    ExpertPart part;
    part.shape = found->view.shape;
    NPUMOE_RETURN_IF_ERROR(
        ConvertElements(found->view, dtype, name, [&part](std::string_view bytes) {
          const auto* begin = reinterpret_cast<const std::byte*>(bytes.data());
          part.bytes.insert(part.bytes.end(), begin, begin + bytes.size());
          return OkStatus();
        }));
    return part;
  };
  for (OutputTensor& tensor :
       FusedOutputs(*layout, first.layer, form_.moe.num_experts, first.shape, dtype, fetch)) {
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
