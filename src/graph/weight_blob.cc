#include "graph/weight_blob.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "base/checked_math.h"
#include "graph/mil_types.h"
#include "graph/names.h"

namespace npumoe {
namespace {

static_assert(std::endian::native == std::endian::little, "weight.bin is little endian");

constexpr uint64_t kBorder = 64;
constexpr uint32_t kVersion = 2;
constexpr uint32_t kSentinel = 0xDEADBEEF;

struct FileHeader {
  uint32_t count = 0;
  uint32_t version = kVersion;
  std::array<std::byte, 56> reserved{};
};

struct BlobHeader {
  uint32_t sentinel = kSentinel;
  uint32_t type = 0;
  uint64_t bytes = 0;
  uint64_t data_offset = 0;
  uint64_t unused_bits = 0;
  std::array<std::byte, 32> reserved{};
};

static_assert(sizeof(FileHeader) == kBorder && sizeof(BlobHeader) == kBorder);

// Bits of the last byte that no element fills.
int UnusedBits(const TensorSpec& spec) {
  if (!IsSubByte(spec.dtype)) return 0;
  const auto filled =
      spec.shape.elements() % 8 * static_cast<int64_t>(MeanBitsPerElement(spec.dtype));
  return static_cast<int>((8 - filled % 8) % 8);
}

template <class Header>
Header ReadHeader(std::span<const std::byte> bytes) {
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

}  // namespace

Result<WeightBlobWriter> WeightBlobWriter::Create(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  WeightBlobWriter writer(std::move(file));
  const FileHeader placeholder;  // the count is known at the end
  NPUMOE_RETURN_IF_ERROR(writer.file_.Append(std::as_bytes(std::span(&placeholder, 1))));
  return writer;
}

Result<uint64_t> WeightBlobWriter::Add(const TensorSpec& spec, const WeightData& weight) {
  const std::pair<std::string, DType> key(weight.identity, spec.dtype);
  if (const auto known = offsets_by_identity_.find(key); known != offsets_by_identity_.end()) {
    return known->second;
  }
  std::span<const std::byte> bytes(weight.view.data, weight.view.empty() ? 0 : spec.bytes());
  if (weight.view.empty()) {
    scratch_.resize(spec.bytes());
    const Status produced = weight.produce(scratch_);
    NPUMOE_RETURN_IF_ERROR(produced.WithContext("weight " + Quoted(spec.name)));
    bytes = scratch_;
  }
  NPUMOE_ASSIGN_OR_RETURN(const uint64_t offset, Add(spec.dtype, bytes, UnusedBits(spec)));
  if (!weight.identity.empty()) offsets_by_identity_.emplace(key, offset);
  return offset;
}

Result<uint64_t> WeightBlobWriter::Add(DType dtype, std::span<const std::byte> bytes,
                                       int unused_bits) {
  const std::optional<uint32_t> type = BlobTypeOf(dtype);
  NPUMOE_CHECK(type.has_value());
  const std::string hash =
      Hasher().Add(int64_t{*type} + (int64_t{unused_bits} << 32)).Add(bytes).Hex();
  const auto [first, last] = offsets_by_hash_.equal_range(hash);
  for (auto candidate = first; candidate != last; ++candidate) {
    NPUMOE_ASSIGN_OR_RETURN(const bool equal, HoldsAt(candidate->second, bytes, unused_bits));
    if (equal) return candidate->second;
  }
  const uint64_t offset = RoundUp(file_.size(), kBorder);
  NPUMOE_RETURN_IF_ERROR(AppendBlob(*type, bytes, unused_bits));
  offsets_by_hash_.emplace(hash, offset);
  content_hash_ = Hasher().Add(content_hash_).Add(hash).Hex();
  ++count_;
  return offset;
}

Status WeightBlobWriter::AppendBlob(uint32_t type, std::span<const std::byte> bytes,
                                    int unused_bits) {
  const std::array<std::byte, kBorder> zeros{};
  const uint64_t at = RoundUp(file_.size(), kBorder);
  NPUMOE_RETURN_IF_ERROR(Append(std::span(zeros).first(at - file_.size())));
  BlobHeader header;
  header.type = type;
  header.bytes = bytes.size();
  header.data_offset = at + kBorder;
  header.unused_bits = static_cast<uint64_t>(unused_bits);
  NPUMOE_RETURN_IF_ERROR(Append(std::as_bytes(std::span(&header, 1))));
  return Append(bytes);
}

Status WeightBlobWriter::Append(std::span<const std::byte> bytes) {
  file_hasher_.Add(bytes);
  return file_.Append(bytes);
}

// The hash is fast, not proof against collisions: equal means equal bytes.
Result<bool> WeightBlobWriter::HoldsAt(uint64_t offset, std::span<const std::byte> bytes,
                                       int unused_bits) const {
  BlobHeader header;
  NPUMOE_RETURN_IF_ERROR(file_.ReadAt(offset, std::as_writable_bytes(std::span(&header, 1))));
  if (header.bytes != bytes.size()) return false;
  if (header.unused_bits != static_cast<uint64_t>(unused_bits)) return false;
  std::vector<std::byte> block(std::min<size_t>(bytes.size(), size_t{1} << 20));
  uint64_t at = header.data_offset;
  while (!bytes.empty()) {
    const std::span<std::byte> part = std::span(block).first(std::min(block.size(), bytes.size()));
    NPUMOE_RETURN_IF_ERROR(file_.ReadAt(at, part));
    if (!std::equal(part.begin(), part.end(), bytes.begin())) return false;
    at += part.size();
    bytes = bytes.subspan(part.size());
  }
  return true;
}

Status WeightBlobWriter::Finish() {
  FileHeader header;
  header.count = count_;
  const std::span<const std::byte> bytes = std::as_bytes(std::span(&header, 1));
  file_hasher_.Add(bytes);
  NPUMOE_RETURN_IF_ERROR(file_.WriteAt(0, bytes));
  return file_.Finish();
}

Result<WeightBlobFile> WeightBlobFile::Open(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> mapped, MappedFile::Open(path));
  WeightBlobFile file(std::move(mapped));
  const std::span<const std::byte> bytes = file.file_->bytes();
  if (bytes.size() < kBorder) {
    return file.Error(0, "the file has " + std::to_string(bytes.size()) +
                             " bytes, less than its 64-byte header; write the package again");
  }
  const auto header = ReadHeader<FileHeader>(bytes);
  if (header.version != kVersion) {
    return file.Error(4, "version " + std::to_string(header.version) + "; only 2 is allowed");
  }
  uint64_t at = kBorder;
  for (uint32_t i = 0; i < header.count; ++i) {
    NPUMOE_ASSIGN_OR_RETURN(at, file.ReadBlob(at));
  }
  if (RoundUp<uint64_t>(bytes.size(), kBorder) != at) {
    return file.Error(at, "the last of " + std::to_string(header.count) +
                              " blobs should end the file of " + std::to_string(bytes.size()) +
                              " bytes; write the package again");
  }
  return file;
}

Result<uint64_t> WeightBlobFile::ReadBlob(uint64_t at) {
  const std::span<const std::byte> bytes = file_->bytes();
  if (at > bytes.size() || bytes.size() - at < kBorder) {
    return Error(at, "a blob header is expected, but the file ends at " +
                         std::to_string(bytes.size()) + "; write the package again");
  }
  const auto header = ReadHeader<BlobHeader>(bytes.subspan(at));
  if (header.sentinel != kSentinel) return Error(at, "not a blob header (wrong sentinel)");
  if (header.data_offset != at + kBorder) {
    return Error(at, "the blob's data should follow its header, not stand at " +
                         std::to_string(header.data_offset));
  }
  const uint64_t available = bytes.size() - at - kBorder;
  if (header.bytes > available) {
    return Error(at, "the blob claims " + std::to_string(header.bytes) + " bytes; the file has " +
                         std::to_string(available) + " left");
  }
  blobs_[at] = {header.type, header.unused_bits, bytes.subspan(header.data_offset, header.bytes)};
  return RoundUp(header.data_offset + header.bytes, kBorder);
}

Result<TensorView> WeightBlobFile::View(uint64_t offset, const TensorSpec& declared) const {
  const std::string shown = "weight " + Quoted(declared.name);
  const auto found = blobs_.find(offset);
  if (found == blobs_.end()) return Error(offset, shown + ": there is no blob at this offset");
  const std::optional<uint32_t> type = BlobTypeOf(declared.dtype);
  if (type != found->second.type) {
    return Error(offset, shown + " is declared " + Name(declared.dtype) +
                             "; the blob has the element type " +
                             std::to_string(found->second.type));
  }
  if (found->second.bytes.size() != declared.bytes()) {
    return Error(offset, shown + " " + declared.shape.ToString() + " needs " +
                             std::to_string(declared.bytes()) + " bytes; the blob has " +
                             std::to_string(found->second.bytes.size()));
  }
  const auto unused = static_cast<uint64_t>(UnusedBits(declared));
  if (IsSubByte(declared.dtype) && found->second.unused_bits != unused) {
    return Error(offset, shown + " " + declared.shape.ToString() + " leaves " +
                             std::to_string(unused) + " bits unused; the blob says " +
                             std::to_string(found->second.unused_bits));
  }
  return TensorView{declared.dtype, declared.shape, found->second.bytes.data()};
}

std::string WeightBlobFile::Hash() const {
  const std::span<const std::byte> bytes = file_->bytes();
  return Hasher().Add(bytes.subspan(kBorder)).Add(bytes.first(kBorder)).Hex();
}

Status WeightBlobFile::Error(uint64_t at, const std::string& what) const {
  return InvalidInput(file_->path().string() + ": at byte " + std::to_string(at) + ": " + what);
}

}  // namespace npumoe
