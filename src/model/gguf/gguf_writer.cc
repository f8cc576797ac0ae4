#include "model/gguf/gguf_writer.h"

#include <cstring>
#include <string>

#include "base/check.h"
#include "base/checked_math.h"
#include "model/gguf/gguf_file.h"

namespace npumoe {
namespace {

constexpr uint32_t kVersion = 3;

template <class T>
void Append(std::string& bytes, T value) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  bytes.append(raw, sizeof(T));
}

std::string Header(size_t tensors, size_t keys) {
  std::string bytes;
  Append(bytes, kGgufMagic);
  Append(bytes, kVersion);
  Append<uint64_t>(bytes, tensors);
  Append<uint64_t>(bytes, keys);
  return bytes;
}

// Offsets count from the first aligned byte behind the directory.
std::string Directory(std::span<const OutputTensor> tensors) {
  std::string bytes;
  uint64_t offset = 0;
  for (const OutputTensor& tensor : tensors) {
    const std::optional<uint32_t> type_id = GgufTypeId(tensor.dtype);
    NPUMOE_CHECK(type_id.has_value());
    Append<uint64_t>(bytes, tensor.name.size());
    bytes += tensor.name;
    Append(bytes, static_cast<uint32_t>(tensor.shape.rank()));
    for (int axis = tensor.shape.rank() - 1; axis >= 0; --axis) {
      Append<uint64_t>(bytes, static_cast<uint64_t>(tensor.shape[axis]));
    }
    Append(bytes, *type_id);
    Append(bytes, offset);
    offset = RoundUp(offset + tensor.bytes(), kGgufDefaultAlignment);
  }
  return bytes;
}

}  // namespace

Status WriteGgufTo(AtomicFile& file, const GgufMetadataBuilder& metadata,
                   std::span<const OutputTensor> tensors, const WriteProgress& progress) {
  NPUMOE_RETURN_IF_ERROR(file.Append(Header(tensors.size(), metadata.count())));
  NPUMOE_RETURN_IF_ERROR(file.Append(metadata.bytes()));
  NPUMOE_RETURN_IF_ERROR(file.Append(Directory(tensors)));
  NPUMOE_RETURN_IF_ERROR(WriteTensors(tensors, file, kGgufDefaultAlignment, progress));
  // Other readers want the last tensor's padding, too.
  const std::string padding(RoundUp(file.size(), kGgufDefaultAlignment) - file.size(), '\0');
  return file.Append(padding);
}

}  // namespace npumoe
