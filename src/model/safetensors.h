// Safetensors files: read by memory map, written in one pass.
//
// The reader trusts nothing: header length against file size, JSON limits, known types, shapes
// whose product and byte size are checked, offsets in range, no overlap, no gap.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/status.h"
#include "base/tensor_view.h"

namespace npumoe {

class Safetensors {
 public:
  static Result<Safetensors> Open(const std::filesystem::path& path);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  // Fails with the file's name when there is no such tensor.
  Result<TensorView> Get(const std::string& name) const;
  const std::filesystem::path& path() const { return file_->path(); }
  std::shared_ptr<const MappedFile> file() const { return file_; }
  // What must live as long as the views: the map, and copies of tensors that lie at addresses
  // which their type does not allow (rare: files whose writer did not pad the header).
  std::vector<std::shared_ptr<const void>> storage() const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<std::shared_ptr<const void>> aligned_copies_;
  std::map<std::string, TensorView> tensors_;
};

// The tensors of a model folder: model.safetensors, or every shard that
// model.safetensors.index.json names. A shard that is missing, a tensor that the index places in
// another shard, and a tensor that stands twice are errors.
class SafetensorsFolder {
 public:
  static Result<SafetensorsFolder> Open(const std::filesystem::path& folder);
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::vector<Safetensors>& files() const { return files_; }
  // The file that holds a tensor; the folder when none does.
  std::filesystem::path FileOf(const std::string& tensor) const;

 private:
  std::filesystem::path folder_;
  std::vector<Safetensors> files_;
  std::map<std::string, TensorView> tensors_;
};

// Atomic: temporary file, flush, rename.
Status WriteSafetensors(const std::filesystem::path& path,
                        const std::map<std::string, TensorView>& tensors);

}  // namespace npumoe
