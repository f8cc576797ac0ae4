// Reading calibration files from disk (the format itself lives in calibrate/).
#pragma once

#include <string>

#include "base/status.h"
#include "calibrate/calibration.h"

namespace npumoe::cli {

Result<Calibration> ReadCalibrationFile(const std::string& path);

}  // namespace npumoe::cli
