// weights/weight.bin, "blob v2": a 64-byte file header, then blobs, each a 64-byte header and its
// data, every header on a 64-byte border. docs/design/coreml-format.md section 4.
//
// A program refers to a blob by the offset of its header.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/mapped_file.h"
#include "base/status.h"
#include "base/tensor_view.h"
#include "graph/graph.h"
#include "graph/output_file.h"

namespace npumoe {

class WeightBlobWriter {
 public:
  static Result<WeightBlobWriter> Create(const std::filesystem::path& path);

  // Returns the offset of the blob's header. Bytes that are in the file already (of the same
  // type) are not written again. `dtype` must have a blob type. `unused_bits` are those of the
  // last byte that no element fills.
  Result<uint64_t> Add(DType dtype, std::span<const std::byte> bytes, int unused_bits = 0);
  // The same for a weight, whose producer is asked unless one of its identity was added before.
  // Memory for one weight is kept for the next.
  Result<uint64_t> Add(const TensorSpec& spec, const WeightData& weight);
  Status Finish();

  uint32_t blob_count() const { return count_; }
  // Of types and contents so far, in order.
  const std::string& content_hash() const { return content_hash_; }
  // WeightBlobFile::Hash() of the file, as it should be on the disk; valid after Finish.
  std::string file_hash() const { return file_hasher_.Hex(); }

 private:
  explicit WeightBlobWriter(OutputFile file) : file_(std::move(file)) {}
  Result<bool> HoldsAt(uint64_t offset, std::span<const std::byte> bytes, int unused_bits) const;
  Status AppendBlob(uint32_t type, std::span<const std::byte> bytes, int unused_bits);
  Status Append(std::span<const std::byte> bytes);

  OutputFile file_;
  std::multimap<std::string, uint64_t> offsets_by_hash_;
  std::map<std::pair<std::string, DType>, uint64_t> offsets_by_identity_;
  std::vector<std::byte> scratch_;
  std::string content_hash_;
  Hasher file_hasher_;
  uint32_t count_ = 0;
};

class WeightBlobFile {
 public:
  // Walks all headers. Fails for anything but a whole file: wrong version or sentinel, a blob
  // beyond the end, bytes after the last blob.
  static Result<WeightBlobFile> Open(const std::filesystem::path& path);

  // The blob at `offset` as the declared tensor: same type, same size. A view into storage().
  Result<TensorView> View(uint64_t offset, const TensorSpec& declared) const;
  // Of every byte: those after the file header, then the header, which is written last.
  std::string Hash() const;
  std::shared_ptr<const MappedFile> storage() const { return file_; }

 private:
  struct Blob {
    uint32_t type = 0;
    uint64_t unused_bits = 0;
    std::span<const std::byte> bytes;
  };
  explicit WeightBlobFile(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}
  Result<uint64_t> ReadBlob(uint64_t at);  // returns where the next header stands
  Status Error(uint64_t at, const std::string& what) const;

  std::shared_ptr<const MappedFile> file_;
  std::unordered_map<uint64_t, Blob> blobs_;
};

}  // namespace npumoe
