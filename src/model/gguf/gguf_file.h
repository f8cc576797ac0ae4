// GgufFile: one GGUF file (versions 2 and 3, little-endian) read by memory map: metadata and the
// tensor directory. Nothing is trusted: every count, length, offset and shape is checked against
// the file before anything is allocated or read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "base/tensor_view.h"
#include "model/gguf/gguf_metadata.h"

namespace npumoe {

// "GGUF" in the order of the bytes.
inline constexpr uint32_t kGgufMagic = 0x46554747;
// Tensors begin at multiples of `general.alignment`, by default:
inline constexpr uint64_t kGgufDefaultAlignment = 32;

// The number that a file has for a type of elements; null for the types that GGUF lacks.
std::optional<uint32_t> GgufTypeId(DType dtype);
// Fails with the name of a type that GGUF knows and this build does not, or the unknown number.
Result<DType> DTypeOfGguf(uint32_t type_id);

class GgufFile {
 public:
  static Result<GgufFile> Open(const std::filesystem::path& path);
  // The same from bytes that `storage` keeps alive (or the caller, when it is null).
  static Result<GgufFile> Parse(std::span<const std::byte> bytes, const std::string& name,
                                std::shared_ptr<const void> storage = nullptr);

  int version() const { return version_; }
  const GgufMetadata& metadata() const { return metadata_; }
  // Shapes are row-major: the last axis is the row, which GGUF writes first.
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::string& name() const { return metadata_.name(); }
  const std::shared_ptr<const void>& storage() const { return storage_; }

 private:
  int version_ = 0;
  GgufMetadata metadata_;
  std::map<std::string, TensorView> tensors_;
  std::shared_ptr<const void> storage_;
};

// A model's GGUF: one file, or all parts of a split one (`NAME-00001-of-00003.gguf`; the first
// names how many there are). A missing part, a part of another split and a tensor that stands
// twice are errors.
class GgufModelFile {
 public:
  // `path`: the only file or the first part.
  static Result<GgufModelFile> Open(const std::filesystem::path& path);

  const GgufMetadata& metadata() const { return parts_.front().metadata(); }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::vector<GgufFile>& parts() const { return parts_; }
  // The path of the part that holds a tensor; the first part when none does.
  std::string FileOf(const std::string& tensor) const;

 private:
  Status AddPart(GgufFile part);
  std::vector<GgufFile> parts_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace npumoe
