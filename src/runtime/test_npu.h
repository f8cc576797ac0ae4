// For tests only: a model, a plan made by hand, its packages in a folder of their own, an emulator.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "npu/emulator/emulator.h"
#include "runtime/npu_executor.h"
#include "runtime/package_compiler.h"
#include "runtime/test_models.h"

namespace npumoe {

class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "npumoe-runtime-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Packages are named by content, so all tests of a process may share them.
inline const std::filesystem::path& SharedCache() {
  static const ScratchFolder folder;
  return folder.path();
}

// One bit of the first number of a package's first weight.
inline void FlipFirstWeight(const std::filesystem::path& package) {
  constexpr int kFirstData = 128;  // after the file's and the blob's header (coreml-format.md)
  std::fstream weights(package / "Data/com.apple.CoreML/weights/weight.bin",
                       std::ios::in | std::ios::out | std::ios::binary);
  weights.seekg(kFirstData);
  const int byte = weights.get();
  weights.seekp(kFirstData);
  weights.put(static_cast<char>(byte ^ 1));
  EXPECT_TRUE(weights.flush().good()) << package;
}

struct NpuBench {
  NpuBench(const std::string& golden, const HandMade& wanted)
      : NpuBench(LoadForTest(GoldenFolder(golden)), wanted) {}
  NpuBench(std::shared_ptr<const Model> the_model, const HandMade& wanted)
      : model(std::move(the_model)),
        profile(ProfileForTest()),
        plan(HandMadePlan(*model, profile, wanted)) {
    auto made = MakeEmulator(profile, pool, {});
    EXPECT_TRUE(made.ok()) << made.status().message();
    emulator = std::move(*made);
  }

  std::vector<CompiledProgram> Compile() {
    auto report = CompilePlan(plan, *model, profile, cache);
    EXPECT_TRUE(report.ok()) << report.status().message();
    return report.ok() ? report->programs : std::vector<CompiledProgram>{};
  }
  std::unique_ptr<NpuExecutor> Load(Device& device, const NpuExecutorOptions& options = {}) {
    auto executor = NpuExecutor::Create(plan, profile, model, device, Compile(), options);
    EXPECT_TRUE(executor.ok()) << executor.status().message();
    return executor.ok() ? std::move(*executor) : nullptr;
  }
  std::unique_ptr<NpuExecutor> Load(const NpuExecutorOptions& options = {}) {
    return Load(*emulator, options);
  }

  ThreadPool pool{2};
  std::shared_ptr<const Model> model;
  ChipProfile profile;
  Plan plan;
  std::filesystem::path cache = SharedCache();
  std::unique_ptr<Device> emulator;
};

// fp16 at the NPU's border: 2^-11 per rounding, some roundings per expert and layer, on logits
// relative to the largest. An order of magnitude above what is seen, far below a wrong row.
inline constexpr double kFp16LogitError = 5e-3;

}  // namespace npumoe
