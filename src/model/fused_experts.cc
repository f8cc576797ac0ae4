#include "model/fused_experts.h"

#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.h"

namespace npumoe {
namespace {

using FileOf = std::function<std::string(const std::string&)>;
using Tensors = std::map<std::string, TensorView>;

constexpr int64_t kMxfp4Values = 32;   // of a block
constexpr int64_t kMxfp4Nibbles = 16;  // bytes of a block without its exponent

// Where the wanted rows stand among those of the fused tensor: first, first + step, ...
struct RowPick {
  int64_t total = 0;
  int64_t first = 0;
  int64_t step = 1;
};

RowPick PickRows(const FusedTensor& fused, TensorRole role, int64_t rows) {
  const int64_t part = role == fused.roles[0] ? 0 : 1;
  switch (fused.rows) {
    case FusedRows::kHalves:
      return {2 * rows, part * rows, 1};
    case FusedRows::kAlternating:
      return {2 * rows, part, 2};
    case FusedRows::kOneRole:
      break;
  }
  return {rows, 0, 1};
}

Shape FusedShape(const FusedTensor& fused, int64_t experts, int64_t total_rows,
                 const Shape& expected) {
  if (expected.rank() == 1) return Shape({experts, total_rows});
  if (fused.encoding == FusedEncoding::kTransposed) {
    return Shape({experts, expected[1], total_rows});
  }
  return Shape({experts, total_rows, expected[1]});
}

Status CheckShape(const std::string& name, const TensorView& found, const Shape& shape,
                  const FileOf& file_of) {
  if (found.shape == shape) return OkStatus();
  return InvalidInput(file_of(name) + ": tensor '" + name + "' has shape " +
                      found.shape.ToString() + ", config.json makes it " + shape.ToString() +
                      "; the files belong to different models, or one of them is damaged");
}

Status CheckFloatType(const std::string& name, DType dtype, const FileOf& file_of) {
  if (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16) return OkStatus();
  return Unsupported(file_of(name) + ": tensor '" + name + "' has type " + Name(dtype) +
                     ", weights may be F32, F16 or BF16; use a model that is not quantized");
}

// out[r, c] = expert[c, first + r * step], in squares so that both sides stay in the cache.
template <class T>
void CopyTransposed(const T* expert, const RowPick& pick, int64_t rows, int64_t columns, T* out) {
  constexpr int64_t kSquare = 32;  // chosen: two squares of four-byte values take 8 KiB
  for (int64_t r0 = 0; r0 < rows; r0 += kSquare) {
    for (int64_t c0 = 0; c0 < columns; c0 += kSquare) {
      for (int64_t r = r0; r < std::min(r0 + kSquare, rows); ++r) {
        for (int64_t c = c0; c < std::min(c0 + kSquare, columns); ++c) {
          out[r * columns + c] = expert[c * pick.total + pick.first + r * pick.step];
        }
      }
    }
  }
}

// Owns the copy until it is handed out.
struct Copy {
  std::shared_ptr<AlignedBuffer<std::byte>> buffer;
  TensorView view;

  Copy(DType dtype, const Shape& shape) : view{dtype, shape, nullptr} {
    buffer = std::make_shared<AlignedBuffer<std::byte>>(view.bytes());
    view.data = buffer->data();
  }
};

// A vector counts as one column of rows.
int64_t ColumnsOf(const Shape& shape) { return shape.rank() == 1 ? 1 : shape[1]; }

Copy CopyRows(const TensorView& expert, const RowPick& pick, const Shape& shape) {
  Copy copy(expert.dtype, shape);
  const size_t row_bytes = static_cast<size_t>(ColumnsOf(shape)) * BytesPerElement(expert.dtype);
  for (int64_t r = 0; r < shape[0]; ++r) {
    std::memcpy(copy.buffer->data() + static_cast<size_t>(r) * row_bytes,
                expert.data + static_cast<size_t>(pick.first + r * pick.step) * row_bytes,
                row_bytes);
  }
  return copy;
}

Copy CopyColumns(const TensorView& expert, const RowPick& pick, const Shape& shape) {
  Copy copy(expert.dtype, shape);
  if (BytesPerElement(expert.dtype) == sizeof(uint32_t)) {
    CopyTransposed(expert.as<uint32_t>(), pick, shape[0], shape[1],
                   reinterpret_cast<uint32_t*>(copy.buffer->data()));
  } else {
    CopyTransposed(expert.as<uint16_t>(), pick, shape[0], shape[1],
                   reinterpret_cast<uint16_t*>(copy.buffer->data()));
  }
  return copy;
}

Result<FusedPart> PlainPart(const FusedTensor& fused, const std::string& name,
                            const ModelConfig& config, const ExpectedTensor& expected,
                            const TensorView& found, const FileOf& file_of) {
  const RowPick pick = PickRows(fused, expected.role, expected.shape[0]);
  NPUMOE_RETURN_IF_ERROR(CheckFloatType(name, found.dtype, file_of));
  NPUMOE_RETURN_IF_ERROR(CheckShape(
      name, found, FusedShape(fused, config.moe.num_experts, pick.total, expected.shape), file_of));
  const TensorView expert = found.Slice(expected.expert);
  FusedPart part;
  part.sources = {name};
  const bool transposed = fused.encoding == FusedEncoding::kTransposed;
  if (!transposed && pick.step == 1) {
    const int64_t offset = pick.first * ColumnsOf(expected.shape);
    part.view = {found.dtype, expected.shape,
                 expert.data + static_cast<size_t>(offset) * BytesPerElement(found.dtype)};
    return part;
  }
  Copy copy = transposed ? CopyColumns(expert, pick, expected.shape)
                         : CopyRows(expert, pick, expected.shape);
  part.view = copy.view;
  part.storage = std::move(copy.buffer);
  return part;
}

Status CheckBytes(const std::string& name, const TensorView& found, const Shape& shape,
                  const FileOf& file_of) {
  if (found.dtype != DType::kU8) {
    return Unsupported(file_of(name) + ": tensor '" + name + "' has type " + Name(found.dtype) +
                       ", MXFP4 blocks and scales are U8");
  }
  return CheckShape(name, found, shape, file_of);
}

Copy RepackMxfp4(const TensorView& blocks, const TensorView& scales, const RowPick& pick,
                 const Shape& shape) {
  Copy copy(DType::kMXFP4, shape);
  const int64_t row_blocks = shape[1] / kMxfp4Values;
  std::byte* out = copy.buffer->data();
  for (int64_t r = 0; r < shape[0]; ++r) {
    const int64_t first_block = (pick.first + r * pick.step) * row_blocks;
    for (int64_t b = first_block; b < first_block + row_blocks; ++b) {
      RepackMxfp4Block(blocks.data + b * kMxfp4Nibbles, scales.data[b], out);
      out += BlockBytes(DType::kMXFP4);
    }
  }
  return copy;
}

Result<FusedPart> Mxfp4Part(const FusedTensor& fused, const std::string& name,
                            const ModelConfig& config, const ExpectedTensor& expected,
                            const Tensors& tensors, const FileOf& file_of) {
  const std::string blocks_name = name + "_blocks";
  const std::string scales_name = name + "_scales";
  const auto blocks = tensors.find(blocks_name);
  const auto scales = tensors.find(scales_name);
  if (blocks == tensors.end() || scales == tensors.end()) {
    const auto& [there, absent] = blocks == tensors.end() ? std::pair(scales_name, blocks_name)
                                                          : std::pair(blocks_name, scales_name);
    return NotFound(file_of(there) + ": tensor '" + there + "' needs '" + absent +
                    "', which is missing; download the model again");
  }
  const RowPick pick = PickRows(fused, expected.role, expected.shape[0]);
  const int64_t experts = config.moe.num_experts;
  if (expected.shape[1] % kMxfp4Values != 0) {
    return InvalidInput(file_of(blocks_name) + ": tensor '" + blocks_name + "': rows of " +
                        std::to_string(expected.shape[1]) +
                        " weights are no whole number of MXFP4 blocks of 32");
  }
  const int64_t row_blocks = expected.shape[1] / kMxfp4Values;
  NPUMOE_RETURN_IF_ERROR(CheckBytes(blocks_name, blocks->second,
                                    Shape({experts, pick.total, row_blocks, kMxfp4Nibbles}),
                                    file_of));
  NPUMOE_RETURN_IF_ERROR(
      CheckBytes(scales_name, scales->second, Shape({experts, pick.total, row_blocks}), file_of));
  Copy copy = RepackMxfp4(blocks->second.Slice(expected.expert),
                          scales->second.Slice(expected.expert), pick, expected.shape);
  return FusedPart{copy.view, std::move(copy.buffer), {blocks_name, scales_name}};
}

bool Holds(const FusedTensor& fused, TensorRole role) {
  return fused.roles[0] == role || fused.roles[1] == role;
}

}  // namespace

void RepackMxfp4Block(const std::byte* nibbles, std::byte exponent, std::byte* block) {
  constexpr int kHalf = kMxfp4Values / 2;
  constexpr std::byte kLow{0x0f};
  const auto element = [nibbles](int i) {
    return i % 2 == 0 ? nibbles[i / 2] & kLow : nibbles[i / 2] >> 4;
  };
  block[0] = exponent;
  for (int j = 0; j < kHalf; ++j) block[1 + j] = element(j) | element(j + kHalf) << 4;
}

std::string FusedNameOf(const ModelFamily& family, const ExpectedTensor& expected) {
  for (const FusedTensor& fused : family.fused) {
    if (Holds(fused, expected.role)) return ExpandName(fused.name, expected.layer, 0);
  }
  return {};
}

Result<std::optional<FusedPart>> FindFusedPart(const ModelFamily& family, const ModelConfig& config,
                                               const ExpectedTensor& expected,
                                               const Tensors& tensors, const FileOf& file_of) {
  for (const FusedTensor& fused : family.fused) {
    if (!Holds(fused, expected.role)) continue;
    const std::string name = ExpandName(fused.name, expected.layer, 0);
    if (fused.encoding == FusedEncoding::kMxfp4) {
      if (!tensors.contains(name + "_blocks") && !tensors.contains(name + "_scales")) continue;
      NPUMOE_ASSIGN_OR_RETURN(FusedPart part,
                              Mxfp4Part(fused, name, config, expected, tensors, file_of));
      return std::optional(std::move(part));
    }
    const auto found = tensors.find(name);
    if (found == tensors.end()) continue;
    NPUMOE_ASSIGN_OR_RETURN(FusedPart part,
                            PlainPart(fused, name, config, expected, found->second, file_of));
    return std::optional(std::move(part));
  }
  return std::optional<FusedPart>();
}

}  // namespace npumoe
