#include "model/gguf/split_key_value.h"

#include <cstring>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/quantized_block.h"

namespace npumoe {
namespace {

bool HasShape(const Shape& found, int64_t heads, int64_t rows, int64_t columns) {
  return found == Shape({heads, rows, columns}) || found == Shape({heads * rows, columns});
}

bool IsPlain(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

// Row `row` of `columns` elements, as floats.
void DecodeRow(const TensorView& tensor, int64_t row, int64_t columns, float* out) {
  const std::byte* data = tensor.data + static_cast<size_t>(row) * BytesOf(tensor.dtype, columns);
  if (IsQuantized(tensor.dtype)) {
    const int64_t block = BlockElements(tensor.dtype);
    for (int64_t i = 0; i < columns; i += block) {
      DecodeBlock(tensor.dtype, data, out + i);
      data += BlockBytes(tensor.dtype);
    }
    return;
  }
  for (int64_t i = 0; i < columns; ++i) {
    if (tensor.dtype == DType::kF32) {
      std::memcpy(out + i, data + i * 4, sizeof(float));
      continue;
    }
    uint16_t bits = 0;
    std::memcpy(&bits, data + i * 2, sizeof(bits));
    out[i] = tensor.dtype == DType::kF16 ? F32FromF16(bits) : F32FromBF16(bits);
  }
}

struct Sizes {
  int64_t heads, nope, value, rank;
};

// Elements as they are: `Element` is an unsigned integer of their size.
template <class Element>
void JoinPlain(const TensorView& keys, const TensorView& values, const Sizes& s, Element* out) {
  const auto* k = keys.as<Element>();
  const auto* v = values.as<Element>();
  for (int64_t h = 0; h < s.heads; ++h) {
    Element* head = out + h * (s.nope + s.value) * s.rank;
    for (int64_t n = 0; n < s.nope; ++n) {
      for (int64_t c = 0; c < s.rank; ++c) {
        head[n * s.rank + c] = k[(h * s.rank + c) * s.nope + n];
      }
    }
    std::memcpy(head + s.nope * s.rank, v + h * s.value * s.rank,
                static_cast<size_t>(s.value * s.rank) * sizeof(Element));
  }
}

void JoinDecoded(const TensorView& keys, const TensorView& values, const Sizes& s, float* out) {
  std::vector<float> row(static_cast<size_t>(s.nope));
  for (int64_t h = 0; h < s.heads; ++h) {
    float* head = out + h * (s.nope + s.value) * s.rank;
    for (int64_t c = 0; c < s.rank; ++c) {
      DecodeRow(keys, h * s.rank + c, s.nope, row.data());
      for (int64_t n = 0; n < s.nope; ++n) head[n * s.rank + c] = row[static_cast<size_t>(n)];
    }
    for (int64_t v = 0; v < s.value; ++v) {
      DecodeRow(values, h * s.value + v, s.rank, head + (s.nope + v) * s.rank);
    }
  }
}

}  // namespace

Result<JoinedKeyValue> JoinKeyValue(const AttentionConfig& attention, const TensorView& keys,
                                    const TensorView& values, const std::string& where) {
  NPUMOE_CHECK(attention.latent.has_value());
  const LatentAttention& latent = *attention.latent;
  const Sizes s = {attention.num_heads, latent.nope_head_dim, latent.value_head_dim,
                   latent.kv_lora_rank};
  if (!HasShape(keys.shape, s.heads, s.rank, s.nope) ||
      !HasShape(values.shape, s.heads, s.value, s.rank)) {
    return InvalidInput(where + " have shapes " + keys.shape.ToString() + " and " +
                        values.shape.ToString() + ", the metadata makes them " +
                        Shape({s.heads, s.rank, s.nope}).ToString() + " and " +
                        Shape({s.heads, s.value, s.rank}).ToString());
  }
  for (const DType dtype : {keys.dtype, values.dtype}) {
    if (IsPlain(dtype) || IsQuantized(dtype)) continue;
    return Unsupported(where + " have type " + Name(dtype) + ", which no weights may have");
  }
  const bool plain = keys.dtype == values.dtype && IsPlain(keys.dtype);
  TensorView view = {plain ? keys.dtype : DType::kF32,
                     Shape({s.heads * (s.nope + s.value), s.rank}), nullptr};
  auto buffer = std::make_shared<AlignedBuffer<std::byte>>(view.bytes());
  view.data = buffer->data();
  if (!plain) {
    JoinDecoded(keys, values, s, reinterpret_cast<float*>(buffer->data()));
  } else if (BytesPerElement(view.dtype) == sizeof(uint32_t)) {
    JoinPlain(keys, values, s, reinterpret_cast<uint32_t*>(buffer->data()));
  } else {
    JoinPlain(keys, values, s, reinterpret_cast<uint16_t*>(buffer->data()));
  }
  return JoinedKeyValue{view, std::move(buffer)};
}

}  // namespace npumoe
