// What a maintainer needs to know of a machine: `npumoe doctor --report`. Nothing private: no name
// of machine or user, the home folder as "~", of the environment only which settings are set.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace npumoe::cli {

// Tests every available device; says on stderr which one, in case the machine does not survive it.
nlohmann::ordered_json MakeDoctorReport();
// The same for people.
std::string DoctorReportText(const nlohmann::ordered_json& report);

}  // namespace npumoe::cli
