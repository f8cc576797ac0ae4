#include "cli/calibration_file.h"

#include "base/mapped_file.h"
#include "cli/wrong_file.h"

namespace npumoe::cli {
namespace {

// Chosen: counts of 10^7 tokens of a 48 x 128 model take about 2 GB as text; more is a mistake.
constexpr size_t kMaxCalibrationBytes = size_t{4} << 30;

}  // namespace

Result<Calibration> ReadCalibrationFile(const std::string& path) {
  const Result<std::string> text = ReadTextFile(path, kMaxCalibrationBytes);
  if (!text.ok()) return ExplainWrongFile(path, "", FileRole::kCalibration, text.status());
  Result<Calibration> calibration = ParseCalibration(*text, path);
  if (calibration.ok()) return calibration;
  return ExplainWrongFile(path, *text, FileRole::kCalibration, calibration.status());
}

}  // namespace npumoe::cli
