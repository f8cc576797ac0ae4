#include "npu/coreml/prediction.h"

#include <atomic>
#include <utility>

#include "npu/coreml/bridge_failure.h"

namespace npumoe::coreml_device {
namespace {

class Prediction : public std::enable_shared_from_this<Prediction> {
 public:
  Prediction(PredictionWork work, std::shared_ptr<Clock> clock,
             std::function<void(const Status&, PredictionTimes)> done)
      : work_(std::move(work)), clock_(std::move(clock)), done_(std::move(done)) {}

  void Start() {
    size_t released = 0;
    const Status status = ReleaseAll(released);
    if (!status.ok()) {
      End(status, released);
      return;
    }
    RunOnce();
  }

 private:
  size_t size() const { return work_.inputs.size() + work_.outputs.size(); }
  TensorMemory& MemoryAt(size_t i) {
    const size_t inputs = work_.inputs.size();
    return i < inputs ? *work_.inputs[i].memory : *work_.outputs[i - inputs].memory;
  }

  Status ReleaseAll(size_t& released) {
    for (; released < size(); ++released) NPUMOE_RETURN_IF_ERROR(MemoryAt(released).Release());
    return OkStatus();
  }

  static std::vector<Binding> BindingsOf(const std::vector<NamedMemory>& memories) {
    std::vector<Binding> bindings;
    for (const NamedMemory& named : memories) {
      bindings.push_back({named.name, named.memory->buffer()});
    }
    return bindings;
  }

  void RunOnce() {
    elsewhere_.assign(work_.outputs.size(), {});
    begin_ms_ = clock_->NowMs();
    PredictionSink sink;
    sink.other_memory = [self = shared_from_this()](size_t output, const ArrayLayout& layout,
                                                    std::span<const std::byte> memory) {
      if (output < self->elsewhere_.size()) {
        self->elsewhere_[output] = {layout, {memory.begin(), memory.end()}};
      }
    };
    const int run = ++run_;
    awaited_ = run;
    sink.done = [self = shared_from_this(), run](std::optional<Failure> failure) {
      int expected = run;  // the first answer of a run counts
      if (self->awaited_.compare_exchange_strong(expected, 0)) self->OnRun(failure);
    };
    work_.model->Predict(BindingsOf(work_.inputs), BindingsOf(work_.outputs), std::move(sink));
  }

  void OnRun(const std::optional<Failure>& failure) {
    end_ms_ = clock_->NowMs();
    if (failure) {
      End(StatusOf(*failure, Step::kPredict), size());
    } else if (--work_.runs > 0) {
      RunOnce();
    } else {
      End(OkStatus(), size());
    }
  }

  // The first `released` memories are the device's.
  void End(Status status, size_t released) {
    for (size_t i = 0; i < released; ++i) {
      const Status reclaimed = MemoryAt(i).Reclaim();
      if (status.ok()) status = reclaimed;
    }
    for (size_t i = 0; status.ok() && i < elsewhere_.size(); ++i) {
      if (elsewhere_[i].memory.empty()) continue;
      status = work_.outputs[i].memory->TakeFrom(elsewhere_[i].layout, elsewhere_[i].memory);
    }
    work_ = {};  // before the owner is told: what it frees then is not in use here
    done_(status, {begin_ms_, end_ms_});
  }

  struct Elsewhere {
    ArrayLayout layout;
    std::vector<std::byte> memory;
  };

  PredictionWork work_;
  const std::shared_ptr<Clock> clock_;
  const std::function<void(const Status&, PredictionTimes)> done_;
  std::vector<Elsewhere> elsewhere_;
  int run_ = 0;
  std::atomic<int> awaited_{0};
  double begin_ms_ = 0, end_ms_ = 0;
};

}  // namespace

void StartPrediction(PredictionWork work, std::shared_ptr<Clock> clock,
                     std::function<void(const Status&, PredictionTimes)> done) {
  std::make_shared<Prediction>(std::move(work), std::move(clock), std::move(done))->Start();
}

}  // namespace npumoe::coreml_device
