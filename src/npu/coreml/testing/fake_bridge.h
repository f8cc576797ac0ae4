// A double of Core ML for tests: packages are copied instead of compiled, predictions run on the
// emulator's executable, answers come from a thread of its own, and everything that can fail, wait
// or be odd does so on demand. It also watches that nobody touches a buffer in flight.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "graph/mlpackage.h"
#include "npu/coreml/coreml_bridge.h"
#include "npu/coreml/strided_rows.h"
#include "npu/emulator/executable.h"

namespace npumoe::coreml_device {

// What the double does; set before it is used, or under no load.
struct FakeScript {
  HostFacts facts = {.chip = "Apple M2 Max",
                     .os_version = "15.5",
                     .os_build = "24F74",
                     .devices = {{ComputeUnit::kCpu, 0}, {ComputeUnit::kNeuralEngine, 16}}};
  // Each is the answer of one call, in turn; none: it succeeds.
  std::deque<Failure> compile_failures, load_failures, plan_failures, predict_failures;
  std::vector<std::string> elsewhere;  // types that the plan puts on the CPU
  bool tells_placement = true;
  bool gives_surfaces = true;
  bool gives_plain_memory = true;
  int64_t row_padding = 0;  // elements behind every row of a surface
  bool uses_backings = true;
  int64_t foreign_padding = 0;   // of outputs in other memory
  bool answers_twice = false;    // a failure after the first answer
  bool locks_again = true;       // whether buffers can be locked after a prediction
  bool answers_at_once = false;  // before the call returns
};

class FakeBuffer final : public Buffer {
 public:
  FakeBuffer(ArrayLayout layout, size_t elements, std::atomic<int>& violations,
             const FakeScript& script)
      : layout_(std::move(layout)),
        memory_(elements * BytesPerElement(layout_.dtype)),
        violations_(violations),
        script_(script) {}
  ~FakeBuffer() override {
    if (in_flight_) ++violations_;
  }
  const ArrayLayout& layout() const override { return layout_; }
  std::span<std::byte> Lock() override {
    if (in_flight_ || locked_) ++violations_;
    if (was_used_ && !script_.locks_again) return {};
    locked_ = true;
    return memory_;
  }
  void Unlock() override {
    if (!locked_) ++violations_;
    locked_ = false;
  }

  // The device's side.
  std::span<std::byte> Begin() {
    if (locked_) ++violations_;
    in_flight_ = true;
    return memory_;
  }
  void End() {
    in_flight_ = false;
    was_used_ = true;
  }

 private:
  ArrayLayout layout_;
  std::vector<std::byte> memory_;
  std::atomic<int>& violations_;
  const FakeScript& script_;
  std::atomic<bool> locked_{false}, in_flight_{false}, was_used_{false};
};

class FakeBridge final : public Bridge {
 public:
  enum class Kind { kCompile, kLoad, kPlan, kPredict };

  FakeBridge() : worker_([this] { Work(); }) {}
  // What is held is dropped, unanswered.
  ~FakeBridge() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    worker_.join();
  }

  FakeScript script;
  std::atomic<int> violations{0};  // of the rules for buffers
  std::atomic<int> compiles{0}, loads{0}, plans{0}, predictions{0}, surfaces{0}, plain{0};
  std::atomic<int> models{0};  // alive

  // Answers of this kind wait until Release.
  void Hold(Kind kind) {
    const std::lock_guard lock(mutex_);
    held_kind_ = kind;
    is_holding_ = true;
  }
  void Release() {
    {
      const std::lock_guard lock(mutex_);
      is_holding_ = false;
    }
    changed_.notify_all();
  }
  // What is held is never answered, as when a service hangs.
  void Drop() {
    std::deque<Job> dropped;  // what it holds goes without the lock
    const std::lock_guard lock(mutex_);
    dropped.swap(jobs_);
  }
  // Until everything that is not held has been answered.
  void WaitUntilIdle() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !is_working_ && NextJob() == jobs_.end(); });
  }

  HostFacts Facts() override { return script.facts; }

  void Compile(const std::filesystem::path& package,
               Receiver<std::filesystem::path> receiver) override {
    ++compiles;
    Post(Kind::kCompile, [this, package, receiver = std::move(receiver)] {
      if (const auto failure = Next(script.compile_failures)) return receiver(*failure);
      std::string folder = (std::filesystem::temp_directory_path() / "npumoe-fake-XXXXXX").string();
      NPUMOE_CHECK(::mkdtemp(folder.data()) != nullptr);
      const std::filesystem::path compiled = std::filesystem::path(folder) / "any.mlmodelc";
      std::filesystem::copy(package, compiled, std::filesystem::copy_options::recursive);
      receiver(compiled);
      std::filesystem::remove_all(folder);
    });
  }

  void Load(const FunctionRef& function, Receiver<std::shared_ptr<Model>> receiver) override;

  void ReadPlan(const FunctionRef& function,
                Receiver<std::vector<OperationUsage>> receiver) override {
    ++plans;
    Post(Kind::kPlan, [this, function, receiver = std::move(receiver)] {
      if (const auto failure = Next(script.plan_failures)) return receiver(*failure);
      const auto package = ReadMlpackage(function.compiled);
      if (!package.ok()) return receiver(Failure{"com.apple.CoreML", 0, "damaged"});
      std::vector<OperationUsage> plan = {{"const", "weights", {}, {}, 0}};
      for (const Operation& operation : (*package->Function(function.function))->operations) {
        plan.push_back(UsageOf(operation));
      }
      receiver(std::move(plan));
    });
  }

  Answer<std::shared_ptr<Buffer>> MakeBuffer(DType dtype, const std::vector<int64_t>& shape,
                                             BufferMemory memory) override {
    const bool is_surface = memory == BufferMemory::kSurface;
    if (is_surface ? !script.gives_surfaces : !script.gives_plain_memory) {
      return Failure{"CVReturn", -6662, "no memory of this kind"};
    }
    ++(is_surface ? surfaces : plain);
    return MakePadded(dtype, shape, is_surface ? script.row_padding : 0);
  }

  void Run(const emulator::Executable& executable, const std::vector<Binding>& inputs,
           const std::vector<Binding>& outputs, const PredictionSink& sink);
  void Post(Kind kind, std::function<void()> job) {
    if (script.answers_at_once) return job();
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back({kind, std::move(job)});
    }
    changed_.notify_all();
  }

 private:
  struct Job {
    Kind kind;
    std::function<void()> run;
  };

  std::shared_ptr<FakeBuffer> MakePadded(DType dtype, const std::vector<int64_t>& shape,
                                         int64_t padding) {
    ArrayLayout layout{dtype, shape, std::vector<int64_t>(shape.size(), 1)};
    int64_t elements = 1;
    for (size_t axis = shape.size(); axis-- > 0;) {
      layout.strides[axis] = elements;
      elements *= shape[axis];
      if (axis + 1 == shape.size()) elements += padding;
    }
    return std::make_shared<FakeBuffer>(std::move(layout), static_cast<size_t>(elements),
                                        violations, script);
  }

  OperationUsage UsageOf(const Operation& operation) const {
    const auto& listed = script.elsewhere;
    const bool is_elsewhere =
        std::find(listed.begin(), listed.end(), operation.type) != listed.end();
    OperationUsage usage{"ios18." + operation.type, operation.outputs.front().name, {}, {}, 0.1};
    if (!script.tells_placement) return usage;
    usage.preferred = is_elsewhere ? ComputeUnit::kCpu : ComputeUnit::kNeuralEngine;
    usage.supported = {ComputeUnit::kCpu};
    if (!is_elsewhere) usage.supported.push_back(ComputeUnit::kNeuralEngine);
    return usage;
  }

  std::optional<Failure> Next(std::deque<Failure>& failures) {
    const std::lock_guard lock(mutex_);
    if (failures.empty()) return std::nullopt;
    Failure first = std::move(failures.front());
    failures.pop_front();
    return first;
  }

  std::deque<Job>::iterator NextJob() {
    return std::find_if(jobs_.begin(), jobs_.end(),
                        [this](const Job& job) { return !is_holding_ || job.kind != held_kind_; });
  }

  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || NextJob() != jobs_.end(); });
      if (stopping_) return;
      const auto next = NextJob();
      Job job = std::move(*next);
      jobs_.erase(next);
      is_working_ = true;
      lock.unlock();
      job.run();
      job.run = nullptr;  // what it holds goes before anybody is told that all is done
      lock.lock();
      is_working_ = false;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  Kind held_kind_ = Kind::kPredict;
  bool is_holding_ = false, is_working_ = false, stopping_ = false;
  ThreadPool pool_{1};
  AlignedBuffer<float> workspace_;
  std::mutex running_;
  std::thread worker_;  // last: it uses the others
};

class FakeModel final : public Model, public std::enable_shared_from_this<FakeModel> {
 public:
  FakeModel(FakeBridge& bridge, std::shared_ptr<const emulator::Executable> executable)
      : bridge_(bridge), executable_(std::move(executable)) {
    ++bridge_.models;
  }
  ~FakeModel() override { --bridge_.models; }

  void Predict(const std::vector<Binding>& inputs, const std::vector<Binding>& outputs,
               PredictionSink sink) override {
    ++bridge_.predictions;
    for (const auto* side : {&inputs, &outputs}) {
      for (const Binding& b : *side) static_cast<FakeBuffer&>(*b.buffer).Begin();
    }
    bridge_.Post(FakeBridge::Kind::kPredict,
                 [self = shared_from_this(), inputs, outputs, sink = std::move(sink)] {
                   self->bridge_.Run(*self->executable_, inputs, outputs, sink);
                 });
  }

 private:
  FakeBridge& bridge_;
  const std::shared_ptr<const emulator::Executable> executable_;
};

inline void FakeBridge::Load(const FunctionRef& function,
                             Receiver<std::shared_ptr<Model>> receiver) {
  ++loads;
  Post(Kind::kLoad, [this, function, receiver = std::move(receiver)] {
    if (const auto failure = Next(script.load_failures)) return receiver(*failure);
    const auto package = ReadMlpackage(function.compiled);
    if (!package.ok()) return receiver(Failure{"com.apple.CoreML", 0, "damaged"});
    const auto graph = package->Function(function.function);
    NPUMOE_CHECK(graph.ok() && function.is_only == (package->functions.size() == 1));
    auto executable = emulator::Executable::Build(**graph, package->storage);
    NPUMOE_CHECK(executable.ok());
    receiver(std::make_shared<FakeModel>(*this, *std::move(executable)));
  });
}

inline void FakeBridge::Run(const emulator::Executable& executable,
                            const std::vector<Binding>& inputs, const std::vector<Binding>& outputs,
                            const PredictionSink& sink) {
  std::unique_lock lock(running_);
  const auto end_all = [&] {
    lock.unlock();  // an answer may start the next prediction
    for (const auto* side : {&inputs, &outputs}) {
      for (const Binding& b : *side) static_cast<FakeBuffer&>(*b.buffer).End();
    }
  };
  if (const auto failure = Next(script.predict_failures)) {
    end_all();
    sink.done(*failure);
    return;
  }
  std::vector<std::vector<std::byte>> in, out;
  for (const Binding& b : inputs) {
    auto& buffer = static_cast<FakeBuffer&>(*b.buffer);
    in.emplace_back(BytesOf(buffer.layout().dtype, ElementsOf(buffer.layout())));
    CopyFromStrided(buffer.layout(), buffer.Begin().data(), in.back());
  }
  for (const TensorSpec& spec : executable.outputs()) out.emplace_back(spec.bytes());
  const std::vector<std::span<const std::byte>> in_spans(in.begin(), in.end());
  const std::vector<std::span<std::byte>> out_spans(out.begin(), out.end());
  NPUMOE_CHECK(executable.Run(in_spans, out_spans, workspace_, pool_).ok());
  for (size_t i = 0; i < outputs.size(); ++i) {
    auto& buffer = static_cast<FakeBuffer&>(*outputs[i].buffer);
    if (script.uses_backings) {
      CopyToStrided(out[i], buffer.layout(), buffer.Begin().data());
      continue;
    }
    const auto other =
        MakePadded(buffer.layout().dtype, buffer.layout().shape, script.foreign_padding);
    const std::span<std::byte> memory = other->Lock();
    CopyToStrided(out[i], other->layout(), memory.data());
    sink.other_memory(i, other->layout(), memory);
  }
  end_all();
  sink.done(std::nullopt);
  if (script.answers_twice) sink.done(Failure{"NSException", 0, "after the answer"});
}

}  // namespace npumoe::coreml_device
