#include "cli/calibration_file.h"

#include "base/mapped_file.h"

namespace npumoe::cli {
namespace {

// Chosen: counts of 10^7 tokens of a 48 x 128 model take about 2 GB as text; more is a mistake.
constexpr size_t kMaxCalibrationBytes = size_t{4} << 30;

}  // namespace

Result<Calibration> ReadCalibrationFile(const std::string& path) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxCalibrationBytes));
  return ParseCalibration(text, path);
}

}  // namespace npumoe::cli
