#include "model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "base/json.h"

namespace npumoe {
namespace {

constexpr size_t kLengthBytes = 8;  // the header's length, little-endian
// The limit of the format's reference reader.
constexpr size_t kMaxHeaderBytes = 100'000'000;
constexpr std::string_view kMetadataKey = "__metadata__";

struct DataRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  std::string tensor;
};

Result<std::string_view> HeaderText(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() < kLengthBytes) {
    return InvalidInput(name + ": " + std::to_string(bytes.size()) +
                        " bytes are no safetensors file, the shortest has 10; download it again");
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  }
  if (length > kMaxHeaderBytes) {
    return InvalidInput(name + ": declares a header of " + std::to_string(length) +
                        " bytes, allowed are " + std::to_string(kMaxHeaderBytes) +
                        "; this is no safetensors file");
  }
  if (length > bytes.size() - kLengthBytes) {
    return InvalidInput(name + ": declares a header of " + std::to_string(length) +
                        " bytes, the file has " + std::to_string(bytes.size()) +
                        " altogether; it is truncated, download it again");
  }
  return std::string_view(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes,
                          static_cast<size_t>(length));
}

Result<DType> TensorType(const JsonObject& entry) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, entry.String("dtype"));
  const std::optional<DType> dtype = ParseDType(text);
  if (dtype) return *dtype;
  return Unsupported(entry.name() + ": type '" + text +
                     "' is not supported; known are F32, F16, BF16, I64, I32, I8, U8 and BOOL");
}

// The shape and, checked for overflow, its size in bytes.
struct CheckedShape {
  Shape shape;
  uint64_t bytes = 0;
};
Result<CheckedShape> TensorShape(const JsonObject& entry, DType dtype) {
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, entry.Array("shape"));
  if (list->size() > static_cast<size_t>(Shape::kMaxRank)) {
    return entry.FieldError("shape",
                            "at most " + std::to_string(Shape::kMaxRank) + " axes are allowed");
  }
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<int64_t> axes,
                          entry.Ints("shape", 0, std::numeric_limits<int64_t>::max()));
  std::optional<int64_t> bytes = static_cast<int64_t>(BytesPerElement(dtype));
  for (const int64_t axis : axes) {
    bytes = CheckedMul(*bytes, axis);
    if (!bytes) {
      return InvalidInput(entry.name() + ": shape " + Shape(axes).ToString() +
                          " is larger than any memory; the file is damaged");
    }
  }
  return CheckedShape{Shape(axes), static_cast<uint64_t>(*bytes)};
}

Result<DataRange> TensorRange(const JsonObject& entry, const std::string& tensor,
                              uint64_t data_bytes) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<int64_t> offsets,
                          entry.Ints("data_offsets", 0, std::numeric_limits<int64_t>::max()));
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    return entry.FieldError("data_offsets", "a list of [begin, end] is needed");
  }
  const auto end = static_cast<uint64_t>(offsets[1]);
  if (end > data_bytes) {
    return InvalidInput(entry.name() + ": its data end at byte " + std::to_string(end) +
                        ", the file has " + std::to_string(data_bytes) +
                        " bytes of data; it is truncated or damaged, download it again");
  }
  return DataRange{static_cast<uint64_t>(offsets[0]), end, tensor};
}

// Every byte of the data belongs to exactly one tensor, as the format demands.
Status CheckCoverage(std::vector<DataRange> ranges, uint64_t data_bytes, const std::string& name) {
  std::ranges::sort(ranges, [](const DataRange& a, const DataRange& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t covered = 0;
  for (const DataRange& range : ranges) {
    if (range.begin != covered) {
      return InvalidInput(name + ": tensor '" + range.tensor + "' begins at byte " +
                          std::to_string(range.begin) +
                          " of the data, where the one before ends at " + std::to_string(covered) +
                          "; tensors must neither overlap nor leave gaps");
    }
    covered = range.end;
  }
  if (covered != data_bytes) {
    return InvalidInput(name + ": holds " + std::to_string(data_bytes - covered) +
                        " bytes behind the last tensor; the file is damaged, download it again");
  }
  return OkStatus();
}

struct Entry {
  TensorView view;  // without data
  DataRange range;
};
Result<Entry> ReadEntry(const std::string& tensor, const Json& json, uint64_t data_bytes,
                        const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject entry,
                          JsonObject::From(json, name + ": tensor '" + tensor + "'"));
  NPUMOE_ASSIGN_OR_RETURN(const DType dtype, TensorType(entry));
  NPUMOE_ASSIGN_OR_RETURN(const CheckedShape checked, TensorShape(entry, dtype));
  NPUMOE_ASSIGN_OR_RETURN(DataRange range, TensorRange(entry, tensor, data_bytes));
  if (range.end - range.begin != checked.bytes) {
    return InvalidInput(entry.name() + ": " + Name(dtype) + " " + checked.shape.ToString() +
                        " takes " + std::to_string(checked.bytes) +
                        " bytes, data_offsets give it " + std::to_string(range.end - range.begin));
  }
  return Entry{{dtype, checked.shape, nullptr}, std::move(range)};
}

// Moves a view to a copy of its own where its address is not one that its type allows; null where
// it is.
std::shared_ptr<const void> AlignedCopy(TensorView& view) {
  if (reinterpret_cast<uintptr_t>(view.data) % BytesPerElement(view.dtype) == 0) return nullptr;
  auto copy = std::make_shared<AlignedBuffer<std::byte>>(view.bytes());
  std::memcpy(copy->data(), view.data, view.bytes());
  if (copy->size() > 0) view.data = copy->data();
  return copy;
}

}  // namespace

Result<Safetensors> Safetensors::Open(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const std::string name = path.string();
  NPUMOE_ASSIGN_OR_RETURN(const std::string_view text, HeaderText(file->bytes(), name));
  NPUMOE_ASSIGN_OR_RETURN(const Json json, ParseJson(text, name + ": header"));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject header, JsonObject::From(json, name + ": header"));

  const auto data = file->bytes().subspan(kLengthBytes + text.size());
  Safetensors result;
  std::vector<DataRange> ranges;
  for (const auto& [tensor, value] : header.json().items()) {
    if (tensor == kMetadataKey) continue;
    NPUMOE_ASSIGN_OR_RETURN(Entry entry, ReadEntry(tensor, value, data.size(), name));
    entry.view.data = data.data() + entry.range.begin;
    result.tensors_.emplace(tensor, entry.view);
    ranges.push_back(std::move(entry.range));
  }
  NPUMOE_RETURN_IF_ERROR(CheckCoverage(std::move(ranges), data.size(), name));
  // Only now: overlapping tensors would be copied many times over.
  for (auto& [tensor, view] : result.tensors_) {
    if (std::shared_ptr<const void> copy = AlignedCopy(view)) {
      result.aligned_copies_.push_back(std::move(copy));
    }
  }
  result.file_ = std::move(file);
  return result;
}

Result<TensorView> Safetensors::Get(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  return NotFound(path().string() + ": has no tensor '" + name + "'");
}

std::vector<std::shared_ptr<const void>> Safetensors::storage() const {
  std::vector<std::shared_ptr<const void>> all = aligned_copies_;
  all.push_back(file_);
  return all;
}

}  // namespace npumoe
