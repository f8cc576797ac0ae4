#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/checked_math.h"
#include "base/json.h"
#include "model/output_tensor.h"
#include "model/safetensors.h"

namespace npumoe {
namespace {

struct Declaration {
  std::string name;
  DType dtype;
  Shape shape;
};

std::string HeaderOf(const std::vector<Declaration>& order) {
  Json header = Json::object();
  header["__metadata__"] = {{"format", "pt"}};  // transformers refuses files without it
  uint64_t offset = 0;
  for (const Declaration& tensor : order) {
    const auto axes = tensor.shape.axes();
    const uint64_t bytes = BytesOf(tensor.dtype, tensor.shape.elements());
    header[tensor.name] = {{"dtype", Name(tensor.dtype)},
                           {"shape", std::vector<int64_t>(axes.begin(), axes.end())},
                           {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  constexpr size_t kDataAlignment = 64;  // chosen: a cache line; the format's readers ask for 8
  constexpr size_t kLengthBytes = 8;
  text.resize(RoundUp(kLengthBytes + text.size(), kDataAlignment) - kLengthBytes, ' ');
  return text;
}

std::string LittleEndian(uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  return bytes;
}

// Wide types first, so that every tensor lies at a multiple of its element size without gaps,
// which the format forbids.
template <class T>
void OrderByAlignment(std::vector<T>& tensors, DType T::*dtype) {
  std::ranges::stable_sort(tensors, [dtype](const T& a, const T& b) {
    return BytesPerElement(a.*dtype) > BytesPerElement(b.*dtype);
  });
}

}  // namespace

Status WriteSafetensors(const std::filesystem::path& path,
                        const std::map<std::string, TensorView>& tensors) {
  std::vector<Declaration> order;
  for (const auto& [name, view] : tensors) order.push_back({name, view.dtype, view.shape});
  OrderByAlignment(order, &Declaration::dtype);
  const std::string header = HeaderOf(order);
  const std::string length = LittleEndian(header.size());
  std::vector<std::string_view> pieces = {length, header};
  for (const Declaration& tensor : order) {
    const TensorView& view = tensors.at(tensor.name);
    pieces.emplace_back(view.as<char>(), view.bytes());
  }
  return WriteFileAtomically(path, pieces);
}

Status WriteSafetensorsTo(AtomicFile& file, std::span<const OutputTensor> tensors,
                          const WriteProgress& progress) {
  std::vector<OutputTensor> order(tensors.begin(), tensors.end());
  OrderByAlignment(order, &OutputTensor::dtype);
  std::vector<Declaration> declarations;
  for (const OutputTensor& t : order) declarations.push_back({t.name, t.dtype, t.shape});
  const std::string header = HeaderOf(declarations);
  NPUMOE_RETURN_IF_ERROR(file.Append(LittleEndian(header.size())));
  NPUMOE_RETURN_IF_ERROR(file.Append(header));
  return WriteTensors(order, file, 1, progress);
}

}  // namespace npumoe
