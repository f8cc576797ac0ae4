#include "graph/manifest.h"

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/mapped_file.h"
#include "graph/names.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

constexpr char kFormatVersion[] = "1.0.0";
constexpr JsonLimits kManifestLimits = {.max_bytes = 64 << 10, .max_depth = 8};
constexpr size_t kMaxItems = 16;  // chosen; a package of ours has two

// 8-4-4-4-12 digits, the habit of such manifests; any unique text would do.
std::string Identifier(const std::string& hash) {
  NPUMOE_CHECK(hash.size() == 32);
  return hash.substr(0, 8) + "-" + hash.substr(8, 4) + "-" + hash.substr(12, 4) + "-" +
         hash.substr(16, 4) + "-" + hash.substr(20);
}

Json Item(const char* name, const char* path, const char* description) {
  return {
      {"author", "com.apple.CoreML"}, {"description", description}, {"name", name}, {"path", path}};
}

bool StaysInside(const std::string& text) {
  const fs::path path(text);
  if (text.empty() || path.is_absolute() || text.find('\\') != std::string::npos ||
      text.find('\0') != std::string::npos) {
    return false;
  }
  for (const fs::path& part : path) {
    if (part == "..") return false;
  }
  return true;
}

Result<fs::path> ReadItem(const fs::path& package, const JsonObject& entries,
                          const std::string& identifier) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject entry, entries.Object(identifier));
  for (const char* key : {"author", "description", "name"}) {
    NPUMOE_RETURN_IF_ERROR(entry.String(key).status());
  }
  NPUMOE_ASSIGN_OR_RETURN(const std::string path, entry.String("path"));
  if (!StaysInside(path)) {
    return entry.FieldError("path",
                            Quoted(path) + " must be relative and stay inside the package's Data");
  }
  const fs::path full = package / "Data" / path;
  std::error_code error;
  if (!fs::exists(full, error)) {
    return NotFound(full.string() + ": named by " + kManifestName +
                    " but missing; write the package again");
  }
  return full;
}

Result<PackagePaths> ReadItems(const fs::path& package, const JsonObject& manifest) {
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject entries, manifest.Object("itemInfoEntries"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string root, manifest.String("rootModelIdentifier"));
  if (entries.json().size() > kMaxItems) {
    return manifest.FieldError("itemInfoEntries", "found " + std::to_string(entries.json().size()) +
                                                      " entries; at most " +
                                                      std::to_string(kMaxItems) + " are allowed");
  }
  if (!entries.Has(root)) {
    return manifest.FieldError("rootModelIdentifier",
                               Quoted(root) + " is not among itemInfoEntries");
  }
  PackagePaths paths;
  for (const auto& [identifier, unused] : entries.json().items()) {
    NPUMOE_ASSIGN_OR_RETURN(const fs::path path, ReadItem(package, entries, identifier));
    if (identifier == root) paths.model = path;
    if (path == package / "Data" / kWeightsPath) paths.weights = path / "weight.bin";
  }
  if (paths.model.parent_path() == package / "Data" / fs::path(kModelPath).parent_path()) {
    return paths;
  }
  return manifest.FieldError(
      "rootModelIdentifier",
      "the model lies at " + Quoted(paths.model.string()) + "; " + kModelPath + " is expected");
}

}  // namespace

std::string ManifestText(const std::string& content_hash) {
  const std::string root = Identifier(content_hash);
  const std::string weights = Identifier({content_hash.rbegin(), content_hash.rend()}) + "-W";
  const Json manifest = {{"fileFormatVersion", kFormatVersion},
                         {"itemInfoEntries",
                          {{root, Item("model.mlmodel", kModelPath, "CoreML Model Specification")},
                           {weights, Item("weights", kWeightsPath, "CoreML Model Weights")}}},
                         {"rootModelIdentifier", root}};
  // Four spaces: coremltools rewrites manifests that it reads, and so changes nothing.
  return manifest.dump(4) + "\n";
}

Result<PackagePaths> ReadManifest(const fs::path& package) {
  const fs::path path = package / kManifestName;
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    return NotFound(path.string() + ": no such file, so " + package.string() +
                    " is not a model package; name a .mlpackage folder");
  }
  NPUMOE_ASSIGN_OR_RETURN(const Json json, ReadJsonFile(path, kManifestLimits));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject manifest, JsonObject::From(json, path.string()));
  NPUMOE_ASSIGN_OR_RETURN(const std::string version, manifest.String("fileFormatVersion"));
  if (version != kFormatVersion) {
    return manifest.FieldError("fileFormatVersion",
                               Quoted(version) + "; only " + kFormatVersion + " is allowed");
  }
  return ReadItems(package, manifest);
}

}  // namespace npumoe
