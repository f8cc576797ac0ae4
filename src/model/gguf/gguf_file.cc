#include "model/gguf/gguf_file.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/checked_math.h"
#include "base/mapped_file.h"

namespace npumoe {
namespace {

constexpr uint64_t kMaxTensors = 1'000'000;  // chosen: a model of one tensor an expert has 100,000
constexpr size_t kMaxTensorNameBytes = 255;  // chosen: other engines stop at 63
constexpr uint32_t kMaxRank = 4;             // the format's limit
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;  // chosen: far above any page
// A name (its length, one character), a rank, one axis, a type and an offset.
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

struct TensorEntry {
  std::string name;
  TensorView view;  // without data
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

struct Header {
  uint32_t version = 0;
  uint64_t tensor_count = 0;
  uint64_t key_count = 0;
};

Status CheckVersion(uint32_t version, const std::string& name) {
  if (version == 2 || version == 3) return OkStatus();
  if (version == 1) {
    return Unsupported(name +
                       ": is of GGUF version 1, supported are 2 and 3; convert the model "
                       "again with a current program");
  }
  const uint32_t swapped = __builtin_bswap32(version);
  if (swapped >= 1 && swapped <= 3) {
    return Unsupported(name +
                       ": is a big-endian GGUF file; convert the model again for "
                       "little-endian machines");
  }
  return Unsupported(name + ": is of GGUF version " + std::to_string(version) +
                     ", supported are 2 and 3");
}

Result<Header> ReadHeader(ByteCursor& cursor, const std::string& name) {
  const auto magic = cursor.Take<uint32_t>();
  if (!magic || *magic != kGgufMagic) {
    return InvalidInput(name + ": does not begin with 'GGUF'; this is no GGUF file");
  }
  const auto version = cursor.Take<uint32_t>();
  if (version) NPUMOE_RETURN_IF_ERROR(CheckVersion(*version, name));
  const auto tensors = cursor.Take<uint64_t>();
  const auto keys = cursor.Take<uint64_t>();
  if (!version || !tensors || !keys) {
    return InvalidInput(name +
                        ": ends inside its header; the file is truncated, download it again");
  }
  return Header{*version, *tensors, *keys};
}

// Rows, checked for overflow: the axes as the file has them, the row first.
Result<Shape> ReadShape(ByteCursor& cursor, const std::string& where) {
  const auto rank = cursor.Take<uint32_t>();
  if (!rank) return InvalidInput(where + ": its rank lies beyond the end of the file");
  if (*rank < 1 || *rank > kMaxRank) {
    return InvalidInput(where + " has " + std::to_string(*rank) + " axes, allowed are 1 to " +
                        std::to_string(kMaxRank));
  }
  std::vector<int64_t> axes;
  std::optional<int64_t> elements = 1;
  for (uint32_t i = 0; i < *rank; ++i) {
    const auto axis = cursor.Take<uint64_t>();
    if (!axis) return InvalidInput(where + ": its shape lies beyond the end of the file");
    if (*axis == 0 || *axis > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return InvalidInput(where + " has an axis of " + std::to_string(*axis) + " elements");
    }
    axes.push_back(static_cast<int64_t>(*axis));
    if (elements) elements = CheckedMul(*elements, axes.back());
  }
  // Eight bytes are the largest element: no type's size in bytes can overflow, either.
  if (!elements || !CheckedMul<int64_t>(*elements, 8)) {
    return InvalidInput(where + " is larger than any memory; the file is damaged");
  }
  std::ranges::reverse(axes);
  return Shape(axes);
}

Status CheckRows(const TensorEntry& entry, const std::string& where) {
  const int64_t row = entry.view.shape[entry.view.shape.rank() - 1];
  const int64_t block = BlockElements(entry.view.dtype);
  if (row % block == 0) return OkStatus();
  return InvalidInput(where + " has rows of " + std::to_string(row) +
                      " elements, which blocks of " + std::to_string(block) + " (" +
                      Name(entry.view.dtype) + ") do not divide");
}

Result<TensorEntry> ReadTensorEntry(ByteCursor& cursor, uint64_t index, const std::string& name) {
  const auto tensor = cursor.TakeString();
  if (!tensor || tensor->empty() || tensor->size() > kMaxTensorNameBytes) {
    return InvalidInput(name + ": the name of tensor " + std::to_string(index) + " has " +
                        (tensor ? std::to_string(tensor->size()) + " bytes, allowed are 1 to " +
                                      std::to_string(kMaxTensorNameBytes)
                                : "a length beyond the end of the file"));
  }
  TensorEntry entry;
  entry.name = std::string(*tensor);
  const std::string where = name + ": tensor '" + entry.name + "'";
  NPUMOE_ASSIGN_OR_RETURN(entry.view.shape, ReadShape(cursor, where));
  const auto type_id = cursor.Take<uint32_t>();
  const auto offset = cursor.Take<uint64_t>();
  if (!type_id || !offset)
    return InvalidInput(where + ": its type lies beyond the end of the file");
  const Result<DType> dtype = DTypeOfGguf(*type_id);
  if (!dtype.ok()) return dtype.status().WithContext(where);
  entry.view.dtype = *dtype;
  entry.offset = *offset;
  NPUMOE_RETURN_IF_ERROR(CheckRows(entry, where));
  entry.bytes = BytesOf(entry.view.dtype, entry.view.shape.elements());
  return entry;
}

Result<std::vector<TensorEntry>> ReadDirectory(ByteCursor& cursor, uint64_t count,
                                               const std::string& name) {
  if (count > kMaxTensors || count > cursor.remaining() / kMinTensorBytes) {
    return InvalidInput(name + ": claims " + std::to_string(count) + " tensors, " +
                        std::to_string(kMaxTensors) + " are allowed and the file has " +
                        std::to_string(cursor.remaining()) +
                        " bytes left; it is truncated or damaged");
  }
  std::vector<TensorEntry> entries;
  for (uint64_t i = 0; i < count; ++i) {
    NPUMOE_ASSIGN_OR_RETURN(TensorEntry entry, ReadTensorEntry(cursor, i, name));
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<uint64_t> Alignment(const GgufMetadata& metadata) {
  constexpr const char* kKey = "general.alignment";
  NPUMOE_ASSIGN_OR_RETURN(const int64_t value,
                          metadata.Int(kKey, 1, static_cast<int64_t>(kMaxAlignment),
                                       static_cast<int64_t>(kGgufDefaultAlignment)));
  const auto alignment = static_cast<uint64_t>(value);
  if (alignment >= 8 && std::has_single_bit(alignment)) return alignment;
  return metadata.KeyError(
      kKey, "a power of two from 8 to " + std::to_string(kMaxAlignment) + " is needed");
}

// Offsets count from the first aligned byte behind the directory.
Status CheckPlaces(const std::vector<TensorEntry>& entries, uint64_t alignment, uint64_t data_bytes,
                   const std::string& name) {
  for (const TensorEntry& entry : entries) {
    const std::string where = name + ": tensor '" + entry.name + "'";
    if (entry.offset % alignment != 0) {
      return InvalidInput(where + " begins at byte " + std::to_string(entry.offset) +
                          " of the data, a multiple of " + std::to_string(alignment) +
                          " is needed; the file is damaged");
    }
    if (entry.offset > data_bytes || entry.bytes > data_bytes - entry.offset) {
      return InvalidInput(where + " takes " + std::to_string(entry.bytes) + " bytes from byte " +
                          std::to_string(entry.offset) + " of the data, the file has " +
                          std::to_string(data_bytes) +
                          "; it is truncated or damaged, download it "
                          "again");
    }
  }
  return OkStatus();
}

Status CheckOverlap(const std::vector<TensorEntry>& entries, const std::string& name) {
  std::vector<const TensorEntry*> order;
  for (const TensorEntry& entry : entries) order.push_back(&entry);
  std::ranges::sort(order, {}, &TensorEntry::offset);
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i]->offset - order[i - 1]->offset >= order[i - 1]->bytes) continue;
    return InvalidInput(name + ": tensors '" + order[i - 1]->name + "' and '" + order[i]->name +
                        "' overlap; the file is damaged");
  }
  return OkStatus();
}

Result<std::map<std::string, TensorView>> PlaceTensors(std::vector<TensorEntry> entries,
                                                       const std::byte* data,
                                                       const std::string& name) {
  std::map<std::string, TensorView> tensors;
  for (TensorEntry& entry : entries) {
    entry.view.data = data + entry.offset;
    const auto [at, is_first] = tensors.emplace(std::move(entry.name), entry.view);
    if (!is_first) {
      return InvalidInput(name + ": tensor '" + at->first + "' stands twice; the file is damaged");
    }
  }
  return tensors;
}

}  // namespace

Result<GgufFile> GgufFile::Open(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const auto bytes = file->bytes();
  return Parse(bytes, path.string(), std::move(file));
}

Result<GgufFile> GgufFile::Parse(std::span<const std::byte> bytes, const std::string& name,
                                 std::shared_ptr<const void> storage) {
  ByteCursor cursor(bytes);
  GgufFile file;
  NPUMOE_ASSIGN_OR_RETURN(const Header header, ReadHeader(cursor, name));
  file.version_ = static_cast<int>(header.version);
  NPUMOE_ASSIGN_OR_RETURN(file.metadata_, GgufMetadata::Read(cursor, header.key_count, name));
  NPUMOE_ASSIGN_OR_RETURN(const uint64_t alignment, Alignment(file.metadata_));
  NPUMOE_ASSIGN_OR_RETURN(std::vector<TensorEntry> entries,
                          ReadDirectory(cursor, header.tensor_count, name));
  // A file without tensors may end before the first aligned byte.
  const uint64_t begin =
      std::min<uint64_t>(RoundUp<uint64_t>(cursor.position(), alignment), bytes.size());
  NPUMOE_RETURN_IF_ERROR(CheckPlaces(entries, alignment, bytes.size() - begin, name));
  NPUMOE_RETURN_IF_ERROR(CheckOverlap(entries, name));
  NPUMOE_ASSIGN_OR_RETURN(file.tensors_,
                          PlaceTensors(std::move(entries), bytes.data() + begin, name));
  file.storage_ = std::move(storage);
  return file;
}

}  // namespace npumoe
