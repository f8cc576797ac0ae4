#include "cli/wrong_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/json.h"

namespace npumoe::cli {
namespace {

namespace fs = std::filesystem;

enum class Found { kPlan, kCalibration, kPackage, kModel, kFolder };

std::optional<Found> RecogniseFolder(const fs::path& path) {
  std::error_code ignored;  // what cannot be looked at is not recognised
  if (!fs::is_directory(path, ignored)) return std::nullopt;
  if (fs::exists(path / "Manifest.json", ignored)) return Found::kPackage;
  if (fs::exists(path / "config.json", ignored)) return Found::kModel;
  return Found::kFolder;
}

std::optional<Found> RecogniseText(std::string_view text, const std::string& name) {
  if (text.starts_with("GGUF")) return Found::kModel;
  const Result<Json> json = ParseJson(text, name);
  if (!json.ok() || !json->is_object()) return std::nullopt;
  const auto format = json->find("format");
  if (format != json->end() && *format == "npumoe-calibration") return Found::kCalibration;
  if (json->contains("chunk_tokens") && json->contains("strategy")) return Found::kPlan;
  return std::nullopt;
}

const char* NameOf(Found found) {
  switch (found) {
    case Found::kPlan:
      return "a plan";
    case Found::kCalibration:
      return "a calibration";
    case Found::kPackage:
      return "a compiled package";
    case Found::kModel:
      return "a model";
    case Found::kFolder:
      return "a folder";
  }
  return "";
}

// How to come to what is wanted.
std::string Advice(const std::string& path, Found found, FileRole wanted) {
  if (wanted == FileRole::kCalibration) {
    return "a calibration is the file that `npumoe calibrate MODEL --data TEXT -o FILE` writes";
  }
  switch (found) {
    case Found::kCalibration:
      return fmt::format("make a plan from it: npumoe plan MODEL --calibration {} -o FILE", path);
    case Found::kPackage:
      return "give the plan that it was compiled from; packages are found by it (--cache FOLDER)";
    default:
      return "a plan is the file that `npumoe plan MODEL --calibration FILE -o FILE` writes";
  }
}

}  // namespace

Status ExplainWrongFile(const std::string& path, std::string_view text, FileRole wanted,
                        const Status& error) {
  std::optional<Found> found = RecogniseFolder(path);
  if (!found && !text.empty()) found = RecogniseText(text, path);
  const Found itself = wanted == FileRole::kPlan ? Found::kPlan : Found::kCalibration;
  if (!found || *found == itself) return error;
  return InvalidInput(fmt::format("{}: is {}, not {}; {}", path, NameOf(*found), NameOf(itself),
                                  Advice(path, *found, wanted)));
}

}  // namespace npumoe::cli
