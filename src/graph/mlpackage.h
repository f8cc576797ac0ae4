// .mlpackage folders: Manifest.json, the Model message, weights/weight.bin ("blob v2").
// Format reference: docs/design/coreml-format.md.
//
// The writer streams weights and is atomic: it writes into a temporary folder beside the target,
// flushes, and renames; a package that exists under its name is whole. The reader trusts nothing.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "graph/graph.h"

namespace npumoe {

// User metadata that the writer adds and the reader checks and takes out again: the hash of the
// weight file, so that damaged weights are refused instead of executed.
inline constexpr char kWeightsHashKey[] = "npumoe_weights";

struct PackageMetadata {
  std::string description;
  std::map<std::string, std::string> user;  // e.g. plan hash, layer, form
};

// One package with several functions; equal weights are stored once. Equal input gives equal
// bytes. Fails, leaving nothing behind, when the disk is full or a weight cannot be produced.
// The folder that `package` lies in must exist. A package of that name is replaced as a whole: it
// is moved aside, so that for a moment there is none, but never a mixture. A process that is killed
// leaves at most a hidden folder ".NAME.XXXXXX" beside it.
Status WriteMlpackage(const std::filesystem::path& package, std::span<const Graph> functions,
                      const PackageMetadata& metadata);

struct Mlpackage {
  std::vector<Graph> functions;  // weights are views into the mapped weight file
  PackageMetadata metadata;
  int64_t weight_file_bytes = 0;
  std::vector<std::shared_ptr<const void>> storage;  // keeps the views alive

  Result<const Graph*> Function(const std::string& name) const;
};

// Reads and checks everything: manifest, message, types, names, shapes (re-inferred), blobs, and
// the hash of the weight file where the package has one (those of other writers have none).
Result<Mlpackage> ReadMlpackage(const std::filesystem::path& package);

}  // namespace npumoe
