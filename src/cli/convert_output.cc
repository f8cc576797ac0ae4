#include "cli/convert_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <system_error>
#include <utility>

#include "graph/output_file.h"
#include "model/gguf/gguf_model.h"
#include "model/gguf/part_name.h"

namespace npumoe::cli {
namespace {

namespace fs = std::filesystem;

// All parts of a split as its first one; any other path as it is.
fs::path FirstPartOf(const fs::path& path) {
  const auto part = ParsePartName(path.filename().string());
  return part ? path.parent_path() / part->Numbered(1).ToString() : path;
}

// A folder is replaced as a whole, so it may hold nothing but what this command writes.
Status CheckReplacedFolder(const std::string& name, const fs::path& folder) {
  static constexpr std::string_view kWritten[] = {"config.json", "generation_config.json",
                                                  "model.safetensors", "tokenizer.json",
                                                  "tokenizer_config.json"};
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string file = entry.path().filename().string();
    if (std::ranges::find(kWritten, file) != std::end(kWritten)) continue;
    return UsageError(fmt::format(
        "{}: holds '{}', which this command does not write; --force would remove it with the "
        "folder, so choose another folder",
        name, file));
  }
  if (!error) return OkStatus();
  return IoError(name + ": cannot be listed: " + error.message());
}

// Where `path` is written must be a folder.
Status CheckParent(const std::string& name, const fs::path& path) {
  const fs::path parent = path.parent_path();
  std::error_code ignored;  // a folder that cannot be examined refuses the file later
  if (parent.empty() || fs::is_directory(parent, ignored)) return OkStatus();
  if (fs::exists(parent, ignored)) {
    return UsageError(fmt::format("{}: '{}' is a file, a folder is needed", name, parent.string()));
  }
  return NotFound(fmt::format("{}: the folder '{}' does not exist; create it first (mkdir -p {})",
                              name, parent.string(), parent.string()));
}

// Moves a finished folder to its name. What stood there is removed at the end; it comes back where
// the move fails.
Status PutInPlace(const fs::path& finished, const fs::path& out, const fs::path& staging) {
  const auto failed = [&out](const std::error_code& error) {
    return IoError(out.string() + ": cannot be put in place: " + error.message());
  };
  std::error_code error;
  const bool replaces = fs::exists(out, error);
  if (replaces && !fs::is_directory(out, error)) {
    return InvalidInput(out.string() + ": is a file, a folder is written");
  }
  fs::path old = staging;  // beside the staging folder, which is removed whatever happens
  old += ".replaced";
  if (replaces) fs::rename(out, old, error);
  if (error) return failed(error);
  fs::rename(finished, out, error);
  if (!replaces) return error ? failed(error) : OkStatus();
  std::error_code second;
  if (!error) {
    fs::remove_all(old, second);
    return OkStatus();  // the model is there; a left-over that cannot be removed is hidden
  }
  fs::rename(old, out, second);
  if (!second) return failed(error);
  return failed(error).WithContext("what stood there is now '" + old.string() + "'");
}

// A message without the name that the folder has while it is written.
Status NamingOutput(const Status& status, const fs::path& temporary, const std::string& out) {
  std::string message = status.message();
  const std::string found = temporary.string();
  for (size_t at = message.find(found); at != message.npos; at = message.find(found, at)) {
    message.replace(at, found.size(), out);
    at += out.size();
  }
  return {status.code(), message};
}

}  // namespace

Result<OutputKind> OutputKindOf(const std::string& out) {
  const fs::path path = out;
  if (IsGgufPath(path)) return OutputKind::kGguf;
  const std::string ending = path.extension().string();
  const bool letters =
      ending.size() > 1 &&
      std::ranges::all_of(ending.substr(1), [](unsigned char c) { return std::isalpha(c) != 0; });
  if (!letters) return OutputKind::kFolder;
  return UsageError(fmt::format(
      "{}: files ending in '{}' are not written; write NAME.gguf for a GGUF, or a folder's name "
      "('{}/' for a folder of this name), which gets config.json and model.safetensors",
      out, ending, out));
}

Status CheckOutput(const std::string& in_name, const std::string& out_name, Replace replace) {
  std::error_code ignored;  // paths that cannot be examined fail when they are opened
  NPUMOE_ASSIGN_OR_RETURN(const fs::path gguf, GgufOf(in_name));  // a folder may hold one
  const fs::path in = fs::weakly_canonical(gguf.empty() ? fs::path(in_name) : gguf, ignored);
  const fs::path out = fs::weakly_canonical(out_name, ignored);
  const auto [inside, rest] = std::mismatch(out.begin(), out.end(), in.begin(), in.end());
  if (inside == out.end() && fs::is_directory(out, ignored)) {
    return UsageError(out_name + ": is or holds the model that is read; choose another place");
  }
  if (FirstPartOf(in) == FirstPartOf(out)) {
    return UsageError(out_name +
                      ": is the file that is read, or a part of it; choose another name");
  }
  const fs::path named = out_name;
  NPUMOE_RETURN_IF_ERROR(CheckParent(out_name, named.has_filename() ? named : named.parent_path()));
  if (!fs::exists(out, ignored)) return OkStatus();
  if (replace == Replace::kNothing) {
    return UsageError(out_name + ": exists already; choose another name or add --force");
  }
  return fs::is_directory(out, ignored) ? CheckReplacedFolder(out_name, out) : OkStatus();
}

Result<ConvertReport> WriteFolderInPlace(
    const std::string& out, const std::function<Result<ConvertReport>(const fs::path&)>& write) {
  std::error_code ignored;  // a path that cannot be resolved fails when it is created
  const fs::path resolved = fs::weakly_canonical(out, ignored);  // a link's folder, not the link
  const fs::path clean = resolved.has_filename() ? resolved : resolved.parent_path();
  NPUMOE_ASSIGN_OR_RETURN(const StagingFolder staging, StagingFolder::Create(clean));
  const fs::path finished = staging.path() / "model";
  std::error_code error;
  if (!fs::create_directory(finished, error)) {
    return IoError(out + ": cannot be created: " + error.message());
  }
  Result<ConvertReport> report = write(finished);
  if (!report.ok()) return NamingOutput(report.status(), finished, out);
  report->path = out;
  NPUMOE_RETURN_IF_ERROR(PutInPlace(finished, clean, staging.path()));
  return report;
}

}  // namespace npumoe::cli
