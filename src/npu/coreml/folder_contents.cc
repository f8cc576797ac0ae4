#include "npu/coreml/folder_contents.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/json.h"
#include "base/mapped_file.h"

namespace npumoe::coreml_device {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxHashedBytes = int64_t{1} << 20;  // chosen: programs yes, weights no
constexpr const char* kFormat = "npumoe-compiled-model";

Status ListingError(const fs::path& folder, const std::error_code& error) {
  return IoError(fmt::format("{}: cannot be listed: {}", folder.string(), error.message()));
}

// Regular files below `folder`, relative, sorted.
Result<std::vector<fs::path>> FilesBelow(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code type_error;
    if (!entry->is_regular_file(type_error)) continue;
    files.push_back(entry->path().lexically_relative(folder));
  }
  if (error) return ListingError(folder, error);
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

int64_t FolderContents::bytes() const {
  int64_t sum = 0;
  for (const FolderFile& file : files) sum += file.bytes;
  return sum;
}

Result<FolderContents> ListFolder(const fs::path& folder) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<fs::path> files, FilesBelow(folder));
  FolderContents contents;
  for (const fs::path& file : files) {
    std::error_code error;
    const auto bytes = static_cast<int64_t>(fs::file_size(folder / file, error));
    if (error) return ListingError(folder / file, error);
    std::string hash;
    if (bytes <= kMaxHashedBytes) {
      NPUMOE_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(folder / file));
      hash = Hasher().Add(mapped->bytes()).Hex();
    }
    contents.files.push_back({file.generic_string(), bytes, std::move(hash)});
  }
  return contents;
}

std::string SerializeContents(const FolderContents& contents) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const FolderFile& file : contents.files) {
    files.push_back({{"path", file.path}, {"bytes", file.bytes}, {"hash", file.hash}});
  }
  return nlohmann::ordered_json{{"format", kFormat}, {"version", 1}, {"files", files}}.dump(1) +
         "\n";
}

Result<FolderContents> ParseContents(const std::string& text, const std::string& name) {
  NPUMOE_ASSIGN_OR_RETURN(const Json json, ParseJson(text, name));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject root, JsonObject::From(json, name));
  NPUMOE_ASSIGN_OR_RETURN(const std::string format, root.String("format"));
  if (format != kFormat) return root.FieldError("format", fmt::format("must be {}", kFormat));
  NPUMOE_RETURN_IF_ERROR(root.Int("version", 1, 1).status());
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, root.Array("files"));
  FolderContents contents;
  for (const Json& item : *list) {
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject file, JsonObject::From(item, name + ": files"));
    FolderFile parsed;
    NPUMOE_ASSIGN_OR_RETURN(parsed.path, file.String("path"));
    NPUMOE_ASSIGN_OR_RETURN(parsed.bytes,
                            file.Int("bytes", 0, std::numeric_limits<int64_t>::max() / 2));
    NPUMOE_ASSIGN_OR_RETURN(parsed.hash, file.String("hash"));
    contents.files.push_back(std::move(parsed));
  }
  return contents;
}

Result<std::string> HashPackage(const fs::path& package) {
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<fs::path> files, FilesBelow(package));
  Hasher hasher;
  for (const fs::path& file : files) {
    NPUMOE_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(package / file));
    hasher.Add(file.generic_string()).Add(mapped->bytes());
    hasher.Add(static_cast<int64_t>(mapped->bytes().size()));
  }
  return hasher.Hex();
}

}  // namespace npumoe::coreml_device
