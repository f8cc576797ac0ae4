#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/checked_math.h"
#include "base/json.h"
#include "model/safetensors.h"

namespace npumoe {
namespace {

using NamedTensor = std::pair<const std::string, TensorView>;

// Wide types first, so that every tensor lies at a multiple of its element size without gaps,
// which the format forbids.
std::vector<const NamedTensor*> OrderByAlignment(const std::map<std::string, TensorView>& tensors) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  std::ranges::stable_sort(order, [](const NamedTensor* a, const NamedTensor* b) {
    return BytesPerElement(a->second.dtype) > BytesPerElement(b->second.dtype);
  });
  return order;
}

std::string HeaderOf(const std::vector<const NamedTensor*>& order) {
  Json header = Json::object();
  header["__metadata__"] = {{"format", "pt"}};  // transformers refuses files without it
  uint64_t offset = 0;
  for (const NamedTensor* tensor : order) {
    const TensorView& view = tensor->second;
    const auto axes = view.shape.axes();
    header[tensor->first] = {{"dtype", Name(view.dtype)},
                             {"shape", std::vector<int64_t>(axes.begin(), axes.end())},
                             {"data_offsets", {offset, offset + view.bytes()}}};
    offset += view.bytes();
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

}  // namespace

Status WriteSafetensors(const std::filesystem::path& path,
                        const std::map<std::string, TensorView>& tensors) {
  const std::vector<const NamedTensor*> order = OrderByAlignment(tensors);
  const std::string header = HeaderOf(order);
  const std::string length = LittleEndian(header.size());
  std::vector<std::string_view> pieces = {length, header};
  for (const NamedTensor* tensor : order) {
    pieces.emplace_back(tensor->second.as<char>(), tensor->second.bytes());
  }
  return WriteFileAtomically(path, pieces);
}

}  // namespace npumoe
