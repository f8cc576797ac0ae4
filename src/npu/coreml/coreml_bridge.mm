// The calls of Core ML behind coreml_bridge.h, and nothing else. Needs macOS 15: packages with
// several functions do. Checked for syntax wherever clang is (tests/coreml_syntax_test.py).
#import <CoreML/CoreML.h>
#import <CoreVideo/CoreVideo.h>
#import <Foundation/Foundation.h>
#include <sys/sysctl.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "npu/coreml/coreml_bridge.h"

namespace npumoe::coreml_device {
namespace {

std::string TextOf(NSString* text) { return text == nil ? std::string() : [text UTF8String]; }

NSString* StringOf(const std::string& text) {
  NSString* string = [NSString stringWithUTF8String:text.c_str()];
  return string == nil ? @"" : string;
}

NSURL* FolderUrl(const std::filesystem::path& path) {
  return [NSURL fileURLWithPath:StringOf(path.string()) isDirectory:YES];
}

Failure FailureOf(NSError* error) {
  if (error == nil) return {"npumoe", 0, "no result and no reason"};
  std::string message = TextOf([error localizedDescription]);
  NSError* cause = error;
  for (int depth = 0; depth < 4; ++depth) {  // chosen: chains are short, circles would not end
    cause = [cause userInfo][NSUnderlyingErrorKey];
    if (cause == nil) break;
    message += ": " + TextOf([cause localizedDescription]);
  }
  return {TextOf([error domain]), static_cast<int64_t>([error code]), message};
}

Failure FailureOf(NSException* exception) {
  return {"NSException", 0, TextOf([exception name]) + ": " + TextOf([exception reason])};
}

std::string SystemText(const char* name) {
  char text[256] = {};
  size_t size = sizeof text - 1;
  return sysctlbyname(name, text, &size, nullptr, 0) == 0 ? text : "";
}

ComputeUnit UnitOf(id<MLComputeDeviceProtocol> device) {
  NSObject* object = (NSObject*)device;
  if ([object isKindOfClass:[MLNeuralEngineComputeDevice class]]) return ComputeUnit::kNeuralEngine;
  if ([object isKindOfClass:[MLGPUComputeDevice class]]) return ComputeUnit::kGpu;
  if ([object isKindOfClass:[MLCPUComputeDevice class]]) return ComputeUnit::kCpu;
  return ComputeUnit::kOther;
}

MLModelConfiguration* ConfigurationFor(const FunctionRef& function) {
  MLModelConfiguration* configuration = [[MLModelConfiguration alloc] init];
  configuration.computeUnits = MLComputeUnitsCPUAndNeuralEngine;
  if (!function.is_only) configuration.functionName = StringOf(function.function);
  return configuration;
}

// Types that no tensor of ours has become kBool, which matches none of them either.
DType TypeOf(MLMultiArrayDataType type) {
  switch (type) {
    case MLMultiArrayDataTypeFloat16:
      return DType::kF16;
    case MLMultiArrayDataTypeFloat32:
      return DType::kF32;
    case MLMultiArrayDataTypeInt32:
      return DType::kI32;
    default:
      return DType::kBool;
  }
}

std::vector<int64_t> NumbersOf(NSArray<NSNumber*>* list) {
  std::vector<int64_t> numbers;
  for (NSNumber* number in list) numbers.push_back([number longLongValue]);
  return numbers;
}

NSArray<NSNumber*>* ListOf(const std::vector<int64_t>& numbers) {
  NSMutableArray<NSNumber*>* list = [NSMutableArray array];
  for (int64_t number : numbers) [list addObject:[NSNumber numberWithLongLong:number]];
  return list;
}

ArrayLayout LayoutOf(MLMultiArray* array) {
  return {TypeOf(array.dataType), NumbersOf(array.shape), NumbersOf(array.strides)};
}

class ArrayBuffer : public Buffer {
 public:
  explicit ArrayBuffer(MLMultiArray* array) : array_(array), layout_(LayoutOf(array)) {}
  const ArrayLayout& layout() const override { return layout_; }
  MLMultiArray* array() const { return array_; }

 private:
  MLMultiArray* const array_;
  const ArrayLayout layout_;
};

class SurfaceBuffer final : public ArrayBuffer {
 public:
  // Takes over the caller's reference to `pixels`.
  SurfaceBuffer(CVPixelBufferRef pixels, MLMultiArray* array)
      : ArrayBuffer(array), pixels_(pixels) {}
  ~SurfaceBuffer() override { CVPixelBufferRelease(pixels_); }
  SurfaceBuffer(const SurfaceBuffer&) = delete;
  SurfaceBuffer& operator=(const SurfaceBuffer&) = delete;

  std::span<std::byte> Lock() override {
    if (CVPixelBufferLockBaseAddress(pixels_, 0) != kCVReturnSuccess) return {};
    void* base = CVPixelBufferGetBaseAddress(pixels_);
    const size_t bytes = CVPixelBufferGetBytesPerRow(pixels_) * CVPixelBufferGetHeight(pixels_);
    if (base != nullptr) return {static_cast<std::byte*>(base), bytes};
    Unlock();
    return {};
  }
  void Unlock() override { CVPixelBufferUnlockBaseAddress(pixels_, 0); }

 private:
  const CVPixelBufferRef pixels_;
};

class PlainBuffer final : public ArrayBuffer {
 public:
  PlainBuffer(MLMultiArray* array, std::shared_ptr<void> memory, size_t bytes)
      : ArrayBuffer(array), memory_(std::move(memory)), bytes_(bytes) {}
  std::span<std::byte> Lock() override { return {static_cast<std::byte*>(memory_.get()), bytes_}; }
  void Unlock() override {}

 private:
  const std::shared_ptr<void> memory_;
  const size_t bytes_;
};

Answer<std::shared_ptr<Buffer>> MakeSurface(const std::vector<int64_t>& shape) {
  if (shape.empty()) return Failure{"npumoe", 0, "a surface needs an axis"};
  size_t rows = 1;
  for (size_t axis = 0; axis + 1 < shape.size(); ++axis) rows *= static_cast<size_t>(shape[axis]);
  NSDictionary* attributes = @{(__bridge NSString*)kCVPixelBufferIOSurfacePropertiesKey : @{}};
  CVPixelBufferRef pixels = nullptr;
  const CVReturn made = CVPixelBufferCreate(kCFAllocatorDefault, static_cast<size_t>(shape.back()),
                                            rows, kCVPixelFormatType_OneComponent16Half,
                                            (__bridge CFDictionaryRef)attributes, &pixels);
  if (made != kCVReturnSuccess || pixels == nullptr) {
    return Failure{"CVReturn", made, "the system gives no shared surface"};
  }
  MLMultiArray* array = [[MLMultiArray alloc] initWithPixelBuffer:pixels shape:ListOf(shape)];
  return std::make_shared<SurfaceBuffer>(pixels, array);
}

MLMultiArrayDataType ArrayTypeOf(DType dtype) {
  if (dtype == DType::kF16) return MLMultiArrayDataTypeFloat16;
  return dtype == DType::kI32 ? MLMultiArrayDataTypeInt32 : MLMultiArrayDataTypeFloat32;
}

Answer<std::shared_ptr<Buffer>> MakePlain(DType dtype, const std::vector<int64_t>& shape) {
  if (dtype != DType::kF16 && dtype != DType::kF32 && dtype != DType::kI32) {
    return Failure{"npumoe", 0, "Core ML has no arrays of this type"};
  }
  std::vector<int64_t> strides(shape.size(), 1);
  int64_t elements = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = elements;
    elements *= shape[axis];
  }
  constexpr size_t kAlignment = 128;  // as base/aligned_buffer.h
  const size_t bytes = BytesOf(dtype, elements);
  const std::shared_ptr<void> memory(
      std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment),
      std::free);
  if (memory == nullptr) return Failure{"NSPOSIXErrorDomain", ENOMEM, "no memory for a buffer"};
  NSError* error = nil;
  // The block shares the memory: it is freed with the last of array and buffer, whether or not a
  // refused array calls it.
  MLMultiArray* array = [[MLMultiArray alloc] initWithDataPointer:memory.get()
                                                            shape:ListOf(shape)
                                                         dataType:ArrayTypeOf(dtype)
                                                          strides:ListOf(strides)
                                                      deallocator:^(void*) {
                                                        (void)memory;
                                                      }
                                                            error:&error];
  if (array == nil) return FailureOf(error);
  __block bool is_shared = false;
  [array getBytesWithHandler:^(const void* own, NSInteger) {
    is_shared = own == memory.get();
  }];
  if (!is_shared) return Failure{"npumoe", 0, "Core ML copied the memory it was given"};
  return std::make_shared<PlainBuffer>(array, memory, bytes);
}

MLMultiArray* ArrayOf(const Binding& binding) {
  return static_cast<const ArrayBuffer&>(*binding.buffer).array();
}

// Output backings are a wish: what came back in other memory is handed on.
void CollectOutputs(id<MLFeatureProvider> result, NSArray<NSString*>* names,
                    NSDictionary<NSString*, MLMultiArray*>* backings, const PredictionSink& sink) {
  for (NSUInteger i = 0; i < [names count]; ++i) {
    MLMultiArray* array = [[result featureValueForName:names[i]] multiArrayValue];
    if (array == nil) {
      sink.done(Failure{"npumoe", 0, "no output '" + TextOf(names[i]) + "'"});
      return;
    }
    MLMultiArray* backing = backings[names[i]];
    if (array == backing) continue;
    if (array.pixelBuffer != nullptr && array.pixelBuffer == backing.pixelBuffer) continue;
    const ArrayLayout layout = LayoutOf(array);
    [array getBytesWithHandler:^(const void* bytes, NSInteger size) {
      sink.other_memory(i, layout,
                        {static_cast<const std::byte*>(bytes), static_cast<size_t>(size)});
    }];
  }
  sink.done(std::nullopt);
}

class CoremlModel final : public Model {
 public:
  explicit CoremlModel(MLModel* model) : model_(model) {}

  void Predict(const std::vector<Binding>& inputs, const std::vector<Binding>& outputs,
               PredictionSink sink) override {
    @autoreleasepool {
      auto shared = std::make_shared<PredictionSink>(std::move(sink));
      @try {
        Start(inputs, outputs, shared);
      } @catch (NSException* exception) {
        shared->done(FailureOf(exception));
      }
    }
  }

 private:
  void Start(const std::vector<Binding>& inputs, const std::vector<Binding>& outputs,
             const std::shared_ptr<PredictionSink>& sink) {
    NSMutableDictionary<NSString*, id>* features = [NSMutableDictionary dictionary];
    for (const Binding& input : inputs) {
      features[StringOf(input.name)] = [MLFeatureValue featureValueWithMultiArray:ArrayOf(input)];
    }
    NSMutableDictionary<NSString*, MLMultiArray*>* backings = [NSMutableDictionary dictionary];
    NSMutableArray<NSString*>* names = [NSMutableArray array];
    for (const Binding& output : outputs) {
      backings[StringOf(output.name)] = ArrayOf(output);
      [names addObject:StringOf(output.name)];
    }
    NSError* error = nil;
    MLDictionaryFeatureProvider* provider =
        [[MLDictionaryFeatureProvider alloc] initWithDictionary:features error:&error];
    if (provider == nil) {
      sink->done(FailureOf(error));
      return;
    }
    MLPredictionOptions* options = [[MLPredictionOptions alloc] init];
    options.outputBackings = backings;
    [model_ predictionFromFeatures:provider
                           options:options
                 completionHandler:^(id<MLFeatureProvider> result, NSError* failed) {
                   if (result == nil) {
                     sink->done(FailureOf(failed));
                     return;
                   }
                   @try {
                     CollectOutputs(result, names, backings, *sink);
                   } @catch (NSException* exception) {
                     sink->done(FailureOf(exception));
                   }
                 }];
  }

  MLModel* const model_;
};

std::vector<OperationUsage> UsagesOf(MLComputePlan* plan, NSString* function) {
  std::vector<OperationUsage> usages;
  MLModelStructureProgramFunction* found = plan.modelStructure.program.functions[function];
  for (MLModelStructureProgramOperation* operation in found.block.operations) {
    OperationUsage usage;
    usage.type = TextOf(operation.operatorName);
    usage.name = TextOf([[operation.outputs firstObject] name]);
    MLComputePlanDeviceUsage* device = [plan computeDeviceUsageForMLProgramOperation:operation];
    if (device != nil) {
      usage.preferred = UnitOf(device.preferredComputeDevice);
      for (id<MLComputeDeviceProtocol> unit in device.supportedComputeDevices) {
        usage.supported.push_back(UnitOf(unit));
      }
    }
    MLComputePlanCost* cost = [plan estimatedCostOfMLProgramOperation:operation];
    if (cost != nil) usage.cost = cost.weight;
    usages.push_back(std::move(usage));
  }
  return usages;
}

class CoremlBridge final : public Bridge {
 public:
  HostFacts Facts() override {
    @autoreleasepool {
      HostFacts facts;
      facts.chip = SystemText("machdep.cpu.brand_string");
      facts.os_version = SystemText("kern.osproductversion");
      facts.os_build = SystemText("kern.osversion");
      for (id<MLComputeDeviceProtocol> device in [MLModel availableComputeDevices]) {
        ComputeDevice known{UnitOf(device), 0};
        if (known.unit == ComputeUnit::kNeuralEngine) {
          known.cores = [(MLNeuralEngineComputeDevice*)device totalCoreCount];
        }
        facts.devices.push_back(known);
      }
      return facts;
    }
  }

  void Compile(const std::filesystem::path& package,
               Receiver<std::filesystem::path> receiver) override {
    @autoreleasepool {
      @try {
        [MLModel compileModelAtURL:FolderUrl(package)
                 completionHandler:^(NSURL* compiled, NSError* error) {
                   if (compiled == nil) {
                     receiver(FailureOf(error));
                   } else {
                     receiver(std::filesystem::path(TextOf([compiled path])));
                   }
                 }];
      } @catch (NSException* exception) {
        receiver(FailureOf(exception));
      }
    }
  }

  void Load(const FunctionRef& function, Receiver<std::shared_ptr<Model>> receiver) override {
    @autoreleasepool {
      @try {
        [MLModel loadContentsOfURL:FolderUrl(function.compiled)
                     configuration:ConfigurationFor(function)
                 completionHandler:^(MLModel* model, NSError* error) {
                   if (model == nil) {
                     receiver(FailureOf(error));
                   } else {
                     receiver(std::make_shared<CoremlModel>(model));
                   }
                 }];
      } @catch (NSException* exception) {
        receiver(FailureOf(exception));
      }
    }
  }

  void ReadPlan(const FunctionRef& function,
                Receiver<std::vector<OperationUsage>> receiver) override {
    @autoreleasepool {
      NSString* name = StringOf(function.function);
      @try {
        [MLComputePlan loadContentsOfURL:FolderUrl(function.compiled)
                           configuration:ConfigurationFor(function)
                       completionHandler:^(MLComputePlan* plan, NSError* error) {
                         if (plan == nil) {
                           receiver(FailureOf(error));
                         } else {
                           receiver(UsagesOf(plan, name));
                         }
                       }];
      } @catch (NSException* exception) {
        receiver(FailureOf(exception));
      }
    }
  }

  Answer<std::shared_ptr<Buffer>> MakeBuffer(DType dtype, const std::vector<int64_t>& shape,
                                             BufferMemory memory) override {
    @autoreleasepool {
      @try {
        return memory == BufferMemory::kSurface ? MakeSurface(shape) : MakePlain(dtype, shape);
      } @catch (NSException* exception) {
        return FailureOf(exception);
      }
    }
  }
};

}  // namespace

std::shared_ptr<Bridge> MakeBridge() { return std::make_shared<CoremlBridge>(); }

}  // namespace npumoe::coreml_device
