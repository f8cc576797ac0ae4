// OutputTensor: a tensor of a file that is being written, whose bytes are made when their turn
// comes: a model passes through memory in pieces.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/atomic_file.h"
#include "base/status.h"
#include "base/tensor_view.h"

namespace npumoe {

// Takes the next bytes of a tensor, in the file's order.
using ByteSink = std::function<Status(std::string_view)>;

struct OutputTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  // Gives exactly bytes() bytes to the sink, in as many pieces as it likes.
  std::function<Status(const ByteSink&)> write;

  uint64_t bytes() const { return BytesOf(dtype, shape.elements()); }
};

// Called with the bytes written so far and those of all tensors; an error ends the writing.
using WriteProgress = std::function<Status(uint64_t done, uint64_t total)>;

// All tensors in their order, each at a multiple of `alignment`. A writer that gives fewer or more
// bytes than it declared is our mistake.
Status WriteTensors(std::span<const OutputTensor> tensors, AtomicFile& file, uint64_t alignment,
                    const WriteProgress& progress);

// A whole safetensors file; not committed. Types wider than others come first in the file, as the
// format's alignment wants it.
Status WriteSafetensorsTo(AtomicFile& file, std::span<const OutputTensor> tensors,
                          const WriteProgress& progress = {});

}  // namespace npumoe
