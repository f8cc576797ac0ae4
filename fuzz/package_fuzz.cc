// The Model message of a package. Its weights and manifest are those of a sample; the hash of the
// weights is left out so that the reader gets beyond it. What reads is a sound graph, and written
// again it reads as the same one.
#include "fuzz/fuzz.h"
#include "fuzz/package_files.h"
#include "graph/testing/graph_equality.h"

namespace npumoe {
namespace {

void WriteAgain(const Mlpackage& package) {
  static const fuzz::ScratchFolder folder;
  const auto path = folder / "again.mlpackage";
  const Status written = WriteMlpackage(path, package.functions, package.metadata);
  fuzz::Require(written.ok(), "what was read can be written: " + written.message());
  const Result<Mlpackage> again = ReadMlpackage(path);
  fuzz::Require(again.ok(), "what was written can be read: " + again.status().message());
  fuzz::Require(again->functions.size() == package.functions.size(), "all functions are written");
  for (const Graph& graph : package.functions) {
    const Result<const Graph*> other = again->Function(graph.name);
    fuzz::Require(other.ok(), "function '" + graph.name + "' is written");
    const std::string difference = testing::Difference(graph, **other);
    fuzz::Require(difference.empty(), "a graph survives writing; differs: " + difference);
  }
}

void Read(std::string_view input) {
  static const fuzz::SamplePackage sample;
  fuzz::WriteFile(sample.model(), input);
  const Result<Mlpackage> package = ReadMlpackage(sample.path());
  if (!package.ok()) {
    fuzz::Require(package.status().message().find("p.mlpackage") != std::string::npos,
                  "an error names the package");
    return;
  }
  fuzz::CheckPackage(*package);
  WriteAgain(*package);
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
