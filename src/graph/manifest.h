// Manifest.json of a package: which file under Data/ is the model, which folder has its weights.
#pragma once

#include <filesystem>
#include <string>

#include "base/status.h"

namespace npumoe {

inline constexpr char kManifestName[] = "Manifest.json";
inline constexpr char kModelPath[] = "com.apple.CoreML/model.mlmodel";
inline constexpr char kWeightsPath[] = "com.apple.CoreML/weights";

// The text of a manifest; the identifiers follow from `content_hash` (32 hexadecimal digits), so
// equal packages have equal manifests.
std::string ManifestText(const std::string& content_hash);

struct PackagePaths {
  std::filesystem::path model;
  std::filesystem::path weights;  // the weight file; empty when the manifest lists no weights
};

// Reads and checks the manifest: every path relative, inside the package and present.
Result<PackagePaths> ReadManifest(const std::filesystem::path& package);

}  // namespace npumoe
