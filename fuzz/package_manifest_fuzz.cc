// Manifest.json of a package: whatever it names, nothing outside the package is taken.
#include "fuzz/fuzz.h"
#include "fuzz/package_files.h"
#include "graph/manifest.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

void RequireInside(const fs::path& path, const fs::path& package) {
  const std::string inside = fs::weakly_canonical(path).string();
  fuzz::Require(inside.starts_with(fs::canonical(package).string() + "/Data/"),
                "the manifest leads to a file inside the package, not to " + inside);
}

void Read(std::string_view input) {
  static const fuzz::SamplePackage sample;
  fuzz::WriteFile(sample.manifest(), input);
  const Result<PackagePaths> paths = ReadManifest(sample.path());
  if (paths.ok()) {
    RequireInside(paths->model, sample.path());
    if (!paths->weights.empty()) RequireInside(paths->weights, sample.path());
  }
  const Result<Mlpackage> package = ReadMlpackage(sample.path());
  fuzz::Require(paths.ok() || !package.ok(), "no package without a manifest");
  if (package.ok()) fuzz::CheckPackage(*package);
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
