// Bridge: the calls of Core ML that the device needs, as plain C++. coreml_bridge.mm makes them and
// decides nothing: caching, limits, time limits, retries, placement, copies and the meaning of
// errors are the business of the files around it, which are tested over a double of this interface.
//
// Thread rules: every function from any thread. Receivers and sinks are called from any thread,
// possibly before the call that was given them returns; where an exception came after an answer,
// once more: the first answer counts. What was passed in may be destroyed
// as soon as the call returns; the bridge and a model keep themselves alive while work is under
// way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/dtype.h"

namespace npumoe::coreml_device {

// An error as the system words it; bridge_failure.h says what it means.
struct Failure {
  std::string domain;  // "com.apple.CoreML", "NSPOSIXErrorDomain", "NSException", ...
  int64_t code = 0;
  std::string message;  // with the causes below it
};
template <class T>
using Answer = std::variant<T, Failure>;
template <class T>
using Receiver = std::function<void(Answer<T>)>;

enum class ComputeUnit { kCpu, kGpu, kNeuralEngine, kOther };

struct ComputeDevice {
  ComputeUnit unit = ComputeUnit::kOther;
  int64_t cores = 0;  // of a Neural Engine; 0: not told
};

struct HostFacts {
  std::string chip;        // "Apple M2 Max"
  std::string os_version;  // "15.5"
  std::string os_build;    // "24F74"
  std::vector<ComputeDevice> devices;
};

// A function of a compiled model.
struct FunctionRef {
  std::filesystem::path compiled;  // a .mlmodelc folder
  std::string function;
  // The only function of its package is the default one; asking for it by name is refused there.
  bool is_only = true;
};

// What the compute plan says about one operation.
struct OperationUsage {
  std::string type;  // "ios18.conv"
  std::string name;  // of its first output
  // None: the plan says nothing, as for constants.
  std::optional<ComputeUnit> preferred;
  std::vector<ComputeUnit> supported;
  double cost = 0;  // share of the function's, 0..1; 0: not told
};

// `strides` in elements, one an axis.
struct ArrayLayout {
  DType dtype = DType::kF16;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
};

enum class BufferMemory {
  kSurface,  // shared with the Neural Engine: no copy; fp16 only; rows may be padded
  kPlain,    // of the process; Core ML copies
};

// Memory of one input or output. Its owner locks it to touch it and unlocks it for a prediction.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual const ArrayLayout& layout() const = 0;
  virtual std::span<std::byte> Lock() = 0;  // empty: refused
  virtual void Unlock() = 0;
};

struct Binding {
  std::string name;
  std::shared_ptr<Buffer> buffer;
};

struct PredictionSink {
  // For every output that Core ML did not write into its buffer: its memory, valid during the call.
  std::function<void(size_t output, const ArrayLayout& layout, std::span<const std::byte> memory)>
      other_memory;
  std::function<void(std::optional<Failure>)> done;  // last
};

// A loaded function.
class Model {
 public:
  virtual ~Model() = default;
  virtual void Predict(const std::vector<Binding>& inputs, const std::vector<Binding>& outputs,
                       PredictionSink sink) = 0;
};

class Bridge {
 public:
  virtual ~Bridge() = default;
  virtual HostFacts Facts() = 0;
  // The compiled model lies in a temporary place that is gone when `receiver` returns.
  virtual void Compile(const std::filesystem::path& package,
                       Receiver<std::filesystem::path> receiver) = 0;
  // With the CPU and the Neural Engine allowed.
  virtual void Load(const FunctionRef& function, Receiver<std::shared_ptr<Model>> receiver) = 0;
  virtual void ReadPlan(const FunctionRef& function,
                        Receiver<std::vector<OperationUsage>> receiver) = 0;
  virtual Answer<std::shared_ptr<Buffer>> MakeBuffer(DType dtype, const std::vector<int64_t>& shape,
                                                     BufferMemory memory) = 0;
};

// Null in a build without Core ML (coreml_stub.cc).
std::shared_ptr<Bridge> MakeBridge();

}  // namespace npumoe::coreml_device
