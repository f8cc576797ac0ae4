#include "convert/fused.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "model/weight_binding.h"

namespace npumoe {
namespace {

constexpr int64_t kMxfp4Values = 32;   // of a block
constexpr int64_t kMxfp4Nibbles = 16;  // its bytes without the exponent

// A vector counts as one column of rows.
int64_t ColumnsOf(const Shape& shape) { return shape.rank() == 1 ? 1 : shape[1]; }

// The rows of one or both roles in the order of the file; rows of `row_bytes`.
std::vector<std::byte> JoinRows(FusedRows order, const std::vector<ExpertPart>& parts,
                                size_t row_bytes) {
  if (order != FusedRows::kAlternating || parts.size() == 1) {
    std::vector<std::byte> joined = parts.front().bytes;
    for (size_t i = 1; i < parts.size(); ++i) {
      joined.insert(joined.end(), parts[i].bytes.begin(), parts[i].bytes.end());
    }
    return joined;
  }
  std::vector<std::byte> joined(2 * parts[0].bytes.size());
  const size_t rows = parts[0].bytes.size() / row_bytes;
  for (size_t row = 0; row < rows; ++row) {
    for (size_t part = 0; part < 2; ++part) {
      std::memcpy(joined.data() + (2 * row + part) * row_bytes,
                  parts[part].bytes.data() + row * row_bytes, row_bytes);
    }
  }
  return joined;
}

// [rows, columns] to [columns, rows], in elements of `size` bytes.
std::vector<std::byte> Transposed(const std::vector<std::byte>& in, int64_t rows, int64_t columns,
                                  size_t size) {
  std::vector<std::byte> out(in.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      std::memcpy(out.data() + static_cast<size_t>(c * rows + r) * size,
                  in.data() + static_cast<size_t>(r * columns + c) * size, size);
    }
  }
  return out;
}

// The nibbles of a GGUF block as safetensors files keep them: elements 2j and 2j + 1 in byte j.
void AppendNibbles(const std::byte* block, std::string& out) {
  constexpr std::byte kLow{0x0f};
  const auto element = [block](int64_t i) {
    const std::byte both = block[1 + i % kMxfp4Nibbles];
    return i < kMxfp4Nibbles ? both & kLow : both >> 4;
  };
  for (int64_t j = 0; j < kMxfp4Nibbles; ++j) {
    out += static_cast<char>(element(2 * j) | element(2 * j + 1) << 4);
  }
}

struct FusedLayer {
  FusedTensor fused;
  int layer;
  int experts;
  Shape shape;
  DType dtype;
  FetchExpert fetch;

  int roles() const { return fused.rows == FusedRows::kOneRole ? 1 : 2; }
  int64_t total_rows() const { return roles() * shape[0]; }

  // The rows of one expert, in the order of the file.
  Result<std::vector<std::byte>> Rows(int expert) const {
    std::vector<ExpertPart> parts;
    for (int i = 0; i < roles(); ++i) {
      NPUMOE_ASSIGN_OR_RETURN(ExpertPart part,
                              fetch(fused.roles[static_cast<size_t>(i)], layer, expert));
      NPUMOE_CHECK(part.shape == shape);
      parts.push_back(std::move(part));
    }
    return JoinRows(fused.rows, parts, BytesOf(dtype, ColumnsOf(shape)));
  }
};

Status WritePlain(const FusedLayer& layer, const ByteSink& sink) {
  for (int expert = 0; expert < layer.experts; ++expert) {
    NPUMOE_ASSIGN_OR_RETURN(std::vector<std::byte> rows, layer.Rows(expert));
    if (layer.fused.encoding == FusedEncoding::kTransposed) {
      rows = Transposed(rows, layer.total_rows(), ColumnsOf(layer.shape),
                        BytesPerElement(layer.dtype));
    }
    NPUMOE_RETURN_IF_ERROR(sink({reinterpret_cast<const char*>(rows.data()), rows.size()}));
  }
  return OkStatus();
}

enum class Mxfp4Half { kExponents, kNibbles };
Status WriteMxfp4(const FusedLayer& layer, Mxfp4Half half, const ByteSink& sink) {
  for (int expert = 0; expert < layer.experts; ++expert) {
    NPUMOE_ASSIGN_OR_RETURN(const std::vector<std::byte> rows, layer.Rows(expert));
    std::string out;
    for (size_t at = 0; at < rows.size(); at += BlockBytes(DType::kMXFP4)) {
      if (half == Mxfp4Half::kNibbles) {
        AppendNibbles(rows.data() + at, out);
      } else {
        out += static_cast<char>(rows[at]);
      }
    }
    NPUMOE_RETURN_IF_ERROR(sink(out));
  }
  return OkStatus();
}

Shape PlainShape(const FusedLayer& layer) {
  if (layer.shape.rank() == 1) return Shape({layer.experts, layer.total_rows()});
  if (layer.fused.encoding == FusedEncoding::kTransposed) {
    return Shape({layer.experts, layer.shape[1], layer.total_rows()});
  }
  return Shape({layer.experts, layer.total_rows(), layer.shape[1]});
}

}  // namespace

std::vector<OutputTensor> FusedOutputs(const FusedTensor& fused, int layer, int experts,
                                       const Shape& shape, DType dtype, const FetchExpert& fetch) {
  const FusedLayer all = {fused, layer, experts, shape, dtype, fetch};
  const std::string name = ExpandName(fused.name, layer, 0);
  if (fused.encoding != FusedEncoding::kMxfp4) {
    return {{name, dtype, PlainShape(all),
             [all](const ByteSink& sink) { return WritePlain(all, sink); }}};
  }
  const int64_t row_blocks = shape[1] / kMxfp4Values;
  return {
      {name + "_blocks", DType::kU8, Shape({experts, all.total_rows(), row_blocks, kMxfp4Nibbles}),
       [all](const ByteSink& sink) { return WriteMxfp4(all, Mxfp4Half::kNibbles, sink); }},
      {name + "_scales", DType::kU8, Shape({experts, all.total_rows(), row_blocks}),
       [all](const ByteSink& sink) { return WriteMxfp4(all, Mxfp4Half::kExponents, sink); }}};
}

}  // namespace npumoe
