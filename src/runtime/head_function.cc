#include "runtime/head_function.h"

#include <atomic>
#include <numeric>

#include "base/check.h"
#include "base/dtype.h"
#include "kernels/dispatch/dispatch.h"

namespace npumoe {

Result<std::unique_ptr<HeadFunction>> HeadFunction::Bind(std::unique_ptr<Program> program,
                                                         const Graph& graph, const ProgramId& id) {
  NPUMOE_CHECK(graph.inputs.size() == 1);
  NPUMOE_RETURN_IF_ERROR(FindSpec(program->inputs(), graph.inputs.front(), "input").status());
  std::unique_ptr<HeadFunction> bound(new HeadFunction());
  bound->rows_ = graph.inputs.front().shape[3];
  int64_t first = 0;
  for (const std::string& name : graph.outputs) {
    const TensorSpec* declared = graph.Find(name);
    NPUMOE_CHECK(declared != nullptr);
    NPUMOE_ASSIGN_OR_RETURN(const size_t output, FindSpec(program->outputs(), *declared, "output"));
    bound->slices_.push_back({output, first, declared->shape[1]});
    first += declared->shape[1];
  }
  bound->loaded_ = {id, std::move(program)};
  return bound;
}

void HeadFunction::Feed(ConstMatrix normed, std::span<DeviceBuffer* const> inputs,
                        ThreadPool& pool) const {
  std::vector<int32_t> all(static_cast<size_t>(normed.rows));
  std::iota(all.begin(), all.end(), 0);
  GatherTransposedF16(normed, all, 1, rows_, Fp16Of(inputs.front()), pool);
}

bool HeadFunction::Take(std::span<DeviceBuffer* const> outputs, Matrix logits,
                        ThreadPool& pool) const {
  std::atomic<bool> finite = true;
  for (const Slice& slice : slices_) {
    const uint16_t* values = Fp16Of(outputs[slice.output]);
    pool.ParallelRanges(slice.entries, 1024, [&](int64_t begin, int64_t end, int) {
      for (int64_t entry = begin; entry < end; ++entry) {
        const uint16_t* column = values + entry * rows_;
        if (!AreFinite(column, logits.rows)) finite = false;
        for (int64_t r = 0; r < logits.rows; ++r) {
          logits.Row(r)[slice.first + entry] = F32FromF16(column[r]);
        }
      }
    });
  }
  return finite;
}

}  // namespace npumoe
