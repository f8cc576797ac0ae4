// Runtime: the library's core for one target, with the properties that we ask for. Compiles models,
// from the cache where they are in it.
//
// Thread rules: every function from any thread.
#pragma once

#include <memory>
#include <openvino/runtime/core.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "npu/openvino/module_interface.h"

namespace npumoe::openvino {

std::string LibraryVersion();
std::vector<Target> ListTargets();

class Runtime {
 public:
  // kUnsupported for a target that this machine lacks, with what is missing.
  static Result<std::unique_ptr<Runtime>> Open(const Settings& settings);

  const Settings& settings() const { return settings_; }
  const std::string& processor() const { return processor_; }
  // Ok, or the operations that the target does not take.
  Status Supports(const std::shared_ptr<ov::Model>& model);
  Result<ov::CompiledModel> Compile(const std::shared_ptr<ov::Model>& model);
  int max_running() const;

 private:
  Runtime(Settings settings, std::string processor)
      : settings_(std::move(settings)), processor_(std::move(processor)) {}
  ov::AnyMap Properties() const;

  const Settings settings_;
  const std::string processor_;
  ov::Core core_;
};

}  // namespace npumoe::openvino
