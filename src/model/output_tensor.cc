#include "model/output_tensor.h"

#include "base/check.h"
#include "base/checked_math.h"

namespace npumoe {

Status WriteTensors(std::span<const OutputTensor> tensors, AtomicFile& file, uint64_t alignment,
                    const WriteProgress& progress) {
  uint64_t total = 0;
  for (const OutputTensor& tensor : tensors) total += tensor.bytes();
  uint64_t done = 0;
  for (const OutputTensor& tensor : tensors) {
    const std::string padding(RoundUp(file.size(), alignment) - file.size(), '\0');
    NPUMOE_RETURN_IF_ERROR(file.Append(padding));
    uint64_t written = 0;
    const auto sink = [&](std::string_view bytes) -> Status {
      NPUMOE_RETURN_IF_ERROR(file.Append(bytes));
      written += bytes.size();
      return progress ? progress(done + written, total) : OkStatus();
    };
    NPUMOE_RETURN_IF_ERROR(tensor.write(sink));
    NPUMOE_CHECK(written == tensor.bytes());
    done += written;
  }
  return OkStatus();
}

}  // namespace npumoe
