// WrongFile: files of this program that are given where another one is meant. A reader calls it
// after it failed, so that the message says what the file is instead of which field it lacks.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace npumoe::cli {

enum class FileRole { kPlan, kCalibration };

// `path` was read as `wanted` and that failed with `error`; `text` is what was read of it, empty
// for a folder. Returns an error that names what it is where it is a plan, a calibration, a
// compiled package or a model; else `error`.
Status ExplainWrongFile(const std::string& path, std::string_view text, FileRole wanted,
                        const Status& error);

}  // namespace npumoe::cli
