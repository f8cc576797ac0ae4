#include "model/gguf/gguf_file.h"
#include "model/gguf/part_name.h"

namespace npumoe {
namespace {

constexpr const char* kPartNumber = "split.no";
constexpr const char* kPartCount = "split.count";
constexpr const char* kTensorCount = "split.tensors.count";
constexpr int64_t kMaxParts = 65'535;  // both are u16 in files

Result<int64_t> CountParts(const GgufMetadata& metadata) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t count, metadata.Int(kPartCount, 0, kMaxParts, 0));
  return std::max<int64_t>(count, 1);
}

// The name of a first part, from which those of the others follow.
Result<PartName> FirstPart(const std::filesystem::path& path, const GgufMetadata& metadata,
                           int64_t count) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t number, metadata.Int(kPartNumber, 0, kMaxParts));
  if (number >= count) {
    return metadata.KeyError(kPartNumber,
                             "it counts from 0, and there are " + std::to_string(count) + " parts");
  }
  const auto own = ParsePartName(path.filename().string());
  const bool is_named = own && own->number == number + 1 && own->count == count;
  const PartName first = is_named ? own->Numbered(1) : PartName{"NAME", 1, static_cast<int>(count)};
  if (number != 0) {
    std::error_code ignored;  // what cannot be examined counts as absent
    const bool is_there =
        is_named && std::filesystem::exists(path.parent_path() / first.ToString(), ignored);
    return InvalidInput(path.string() + ": is part " + std::to_string(number + 1) + " of " +
                        std::to_string(count) + "; give the first one, " + first.ToString() +
                        (is_there ? "" : ", which is not beside it (all parts are needed)"));
  }
  if (is_named) return first;
  return InvalidInput(path.string() + ": is the first of " + std::to_string(count) +
                      " parts, so it must be named " + first.ToString() +
                      " for the others to be found; rename it");
}

Status CheckPart(const GgufFile& part, int64_t index, int64_t count) {
  const GgufMetadata& metadata = part.metadata();
  NPUMOE_ASSIGN_OR_RETURN(const int64_t number, metadata.Int(kPartNumber, 0, kMaxParts));
  NPUMOE_ASSIGN_OR_RETURN(const int64_t parts, metadata.Int(kPartCount, 1, kMaxParts));
  if (number != index) {
    return metadata.KeyError(kPartNumber, "by its name the file is part " +
                                              std::to_string(index + 1) + ", number " +
                                              std::to_string(index));
  }
  if (parts == count) return OkStatus();
  return metadata.KeyError(kPartCount, "the first part says " + std::to_string(count) +
                                           "; the parts belong to different downloads");
}

}  // namespace

Status GgufModelFile::AddPart(GgufFile part) {
  for (const auto& [tensor, view] : part.tensors()) {
    if (!tensors_.emplace(tensor, view).second) {
      return InvalidInput(part.name() + ": tensor '" + tensor +
                          "' stands in an earlier part, too; the parts belong to different models");
    }
  }
  parts_.push_back(std::move(part));
  return OkStatus();
}

Result<GgufModelFile> GgufModelFile::Open(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(GgufFile first, GgufFile::Open(path));
  GgufModelFile model;
  NPUMOE_RETURN_IF_ERROR(model.AddPart(std::move(first)));
  const GgufMetadata& metadata = model.metadata();
  NPUMOE_ASSIGN_OR_RETURN(const int64_t count, CountParts(metadata));
  if (count == 1) return model;
  NPUMOE_ASSIGN_OR_RETURN(const PartName name, FirstPart(path, metadata, count));
  for (int64_t index = 1; index < count; ++index) {
    const std::filesystem::path next =
        path.parent_path() / name.Numbered(static_cast<int>(index) + 1).ToString();
    auto part = GgufFile::Open(next);
    if (!part.ok()) {
      return part.status().WithContext(path.string() + ": needs part " + std::to_string(index + 1) +
                                       " of " + std::to_string(count));
    }
    NPUMOE_RETURN_IF_ERROR(CheckPart(*part, index, count));
    NPUMOE_RETURN_IF_ERROR(model.AddPart(std::move(*part)));
  }
  const auto tensors = static_cast<int64_t>(model.tensors_.size());
  NPUMOE_ASSIGN_OR_RETURN(const int64_t expected,
                          model.metadata().Int(kTensorCount, 0, int64_t{1} << 40, tensors));
  if (expected == tensors) return model;
  return model.metadata().KeyError(kTensorCount, "the parts hold " + std::to_string(tensors) +
                                                     "; they belong to different downloads");
}

std::string GgufModelFile::FileOf(const std::string& tensor) const {
  for (const GgufFile& part : parts_) {
    if (part.tensors().contains(tensor)) return part.name();
  }
  return parts_.front().name();
}

}  // namespace npumoe
