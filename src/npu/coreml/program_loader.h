// ProgramLoader: from a package to a function that is ready to run: compiled or found in the cache,
// loaded, looked at, warmed up; each step with a time limit, failures tried once more after a
// pause.
//
// Thread rules: Load from any thread; packages are compiled one at a time.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/tensor_view.h"
#include "npu/coreml/compiled_cache.h"
#include "npu/coreml/coreml_device.h"
#include "npu/coreml/placement.h"
#include "npu/coreml/verified_record.h"

namespace npumoe::coreml_device {

struct LoadJob {
  std::filesystem::path package;
  std::string function;
  bool is_only = true;  // the only function of its package
  std::vector<TensorSpec> inputs, outputs;
};

struct LoadedFunction {
  std::shared_ptr<Model> model;
  std::shared_ptr<CachedModel> cached;  // what the model was loaded from stays while it lives
  Placement placement;
};

class ProgramLoader {
 public:
  ProgramLoader(const CoremlOptions& options, const CoremlParts& parts, HostFacts host,
                std::shared_ptr<CompiledCache> cache);

  Result<LoadedFunction> Load(const LoadJob& job);
  // What is known of the function without loading it: ok where nothing is.
  Status KnownRefusal(const LoadJob& job);

 private:
  Result<CacheKey> KeyOf(const LoadJob& job) const;
  Result<std::shared_ptr<CachedModel>> FindOrCompile(const LoadJob& job, const CacheKey& key);
  Result<std::shared_ptr<CachedModel>> Compile(const LoadJob& job, const CacheKey& key);
  Result<LoadedFunction> LoadVerified(const LoadJob& job, const CacheKey& key,
                                      std::shared_ptr<CachedModel> cached, const Placement& known);
  Result<LoadedFunction> LoadAndVerify(const LoadJob& job, std::shared_ptr<CachedModel> cached);
  Result<std::shared_ptr<Model>> LoadModel(const LoadJob& job, const CachedModel& cached);
  Result<Placement> ReadPlacement(const LoadJob& job, const CachedModel& cached);
  Status WarmUp(const LoadJob& job, const LoadedFunction& loaded);
  template <class Attempt>
  auto WithOneRetry(const Attempt& attempt) -> decltype(attempt());

  const CoremlOptions options_;
  const CoremlParts parts_;
  const HostFacts host_;
  const std::shared_ptr<CompiledCache> cache_;
  std::mutex compiling_;
  std::mutex recording_;
  // A pause that did not help is not made again until something succeeds: a hundred programs that
  // are refused must not take half an hour.
  std::atomic<bool> pauses_help_{true};
};

}  // namespace npumoe::coreml_device
