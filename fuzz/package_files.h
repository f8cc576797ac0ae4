// A small whole package on the disk, of which a fuzz target replaces one file by its input.
#pragma once

#include <filesystem>
#include <string>

#include "fuzz/scratch_files.h"
#include "graph/mlpackage.h"

namespace npumoe::fuzz {

class SamplePackage {
 public:
  SamplePackage();
  std::filesystem::path path() const { return folder_ / "p.mlpackage"; }
  std::filesystem::path model() const { return path() / "Data/com.apple.CoreML/model.mlmodel"; }
  std::filesystem::path weights() const {
    return path() / "Data/com.apple.CoreML/weights/weight.bin";
  }
  std::filesystem::path manifest() const { return path() / "Manifest.json"; }

 private:
  ScratchFolder folder_;
};

// What was read can be used: its graphs are sound and their weights readable.
void CheckPackage(const Mlpackage& package);

}  // namespace npumoe::fuzz
