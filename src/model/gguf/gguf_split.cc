#include <charconv>

#include "model/gguf/gguf_file.h"

namespace npumoe {
namespace {

constexpr const char* kPartNumber = "split.no";
constexpr const char* kPartCount = "split.count";
constexpr const char* kTensorCount = "split.tensors.count";
constexpr int64_t kMaxParts = 65'535;  // both are u16 in files

// "-00001-of-00003.gguf"
std::string PartSuffix(int64_t number, int64_t count) {
  const auto padded = [](int64_t value) {
    const std::string digits = std::to_string(value);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  return "-" + padded(number) + "-of-" + padded(count) + ".gguf";
}

Result<int64_t> CountParts(const GgufMetadata& metadata) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t count, metadata.Int(kPartCount, 0, kMaxParts, 0));
  return std::max<int64_t>(count, 1);
}

// NAME of "NAME-00001-of-00003.gguf".
Result<std::string> Stem(const std::filesystem::path& path, const GgufMetadata& metadata,
                         int64_t count) {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t number, metadata.Int(kPartNumber, 0, kMaxParts));
  if (number >= count) {
    return metadata.KeyError(kPartNumber,
                             "it counts from 0, and there are " + std::to_string(count) + " parts");
  }
  const std::string file = path.filename().string();
  const std::string first = PartSuffix(1, count);
  if (number != 0) {
    const std::string own = PartSuffix(number + 1, count);
    const std::string stem =
        file.ends_with(own) ? file.substr(0, file.size() - own.size()) : "NAME";
    std::error_code ignored;  // what cannot be examined counts as absent
    const bool is_there =
        stem != "NAME" && std::filesystem::exists(path.parent_path() / (stem + first), ignored);
    return InvalidInput(path.string() + ": is part " + std::to_string(number + 1) + " of " +
                        std::to_string(count) + "; give the first one, " + stem + first +
                        (is_there ? "" : ", which is not beside it (all parts are needed)"));
  }
  if (file.ends_with(first)) return file.substr(0, file.size() - first.size());
  return InvalidInput(path.string() + ": is the first of " + std::to_string(count) +
                      " parts, so its name must end with " + first +
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
  NPUMOE_ASSIGN_OR_RETURN(const std::string stem, Stem(path, metadata, count));
  for (int64_t index = 1; index < count; ++index) {
    const std::filesystem::path next = path.parent_path() / (stem + PartSuffix(index + 1, count));
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
