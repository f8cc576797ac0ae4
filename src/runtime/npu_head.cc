#include "runtime/npu_head.h"

#include <algorithm>
#include <random>

#include "runtime/dense_checks.h"

namespace npumoe {
namespace {

// Some rows of a chunk through one launch.
class HeadLaunch {
 public:
  HeadLaunch(LayerContext& context, NpuExecutor& npu, HeadFunction& function, int chunk)
      : context_(context), plan_(npu.plan()), launches_(npu.launches()), function_(function) {
    launch_.function = &function.loaded();
    launch_.chunk = chunk;
    launch_.capacity_rows = function.rows();
  }
  ~HeadLaunch() { launches_.Release(launch_); }
  HeadLaunch(const HeadLaunch&) = delete;
  HeadLaunch& operator=(const HeadLaunch&) = delete;

  // Whether `logits` are there.
  bool Run(ConstMatrix normed, Matrix logits) {
    launch_.filled_rows = normed.rows;
    if (!launches_.AcquireBuffers(launch_)) return false;
    Work("head input", [&] { function_.Feed(normed, launch_.inputs, context_.pool); });
    launches_.Submit(launch_, *context_.timeline);
    launches_.Await(launch_, *context_.timeline);
    if (launch_.state != Launch::State::kDone) return false;
    context_.timeline->WaitUntil(launch_.end_ms);
    Work("head output", [&] { TakeAndCheck(normed, logits); });
    if (launch_.state != Launch::State::kDone) return false;
    launches_.Accept(launch_);
    ++context_.dense_launches;
    return true;
  }

 private:
  template <class Do>
  void Work(const char* what, Do work) {
    const CpuWork measured(context_.stages.head_ms, context_.timeline, launch_.chunk,
                           context_.config.num_layers, what);
    work();
  }

  void TakeAndCheck(ConstMatrix normed, Matrix logits) {
    if (!function_.Take(launch_.outputs, logits, context_.pool)) {
      launches_.RejectOutput(launch_);
      return;
    }
    const NpuLaunches::Checks checks = launches_.NextChecks(launch_);
    std::mt19937_64 random(checks.seed);
    for (int i = 0; i < checks.rows; ++i) {
      const int64_t row = checks.every_row
                              ? i
                              : static_cast<int64_t>(random() % static_cast<uint64_t>(normed.rows));
      const ConstMatrix in{normed.Row(row), 1, normed.columns, normed.columns};
      const RowVerdict verdict = CheckHeadRow(context_, plan_, in, logits.Row(row), random);
      const RowsChecked& error = verdict.error;
      launches_.AddChecks(launch_, {1, error.relative, error.root_mean_square});
      if (verdict.is_right) continue;
      launches_.RejectNumbers(launch_, error.relative);
      return;
    }
  }

  LayerContext& context_;
  const Plan& plan_;
  NpuLaunches& launches_;
  HeadFunction& function_;
  Launch launch_;
};

}  // namespace

Status RunHeadOn(LayerContext& context, NpuExecutor* npu, ChunkRows& chunk, int64_t first,
                 int64_t rows, float* logits) {
  const int64_t vocab = context.config.vocab_size;
  for (int64_t done = 0; done < rows;) {
    HeadFunction* function = npu == nullptr ? nullptr : npu->HeadFor(rows - done);
    const int64_t count =
        function == nullptr ? rows - done : std::min(rows - done, function->rows());
    const Matrix out{logits + done * vocab, count, vocab, vocab};
    const ConstMatrix normed = NormForHead(context, chunk, first + done, count);
    if (function == nullptr ||
        !HeadLaunch(context, *npu, *function, chunk.chunk).Run(normed, out)) {
      if (function != nullptr) {
        npu->launches().AddDegradedRows(function->loaded().id, count);
      }
      MultiplyByHead(context, chunk, normed, out);
    }
    done += count;
  }
  return FinishLogits(context, chunk, first, {logits, rows, vocab, vocab});
}

}  // namespace npumoe
