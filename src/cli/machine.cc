#include "cli/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

#if __has_include(<sys/sysctl.h>)
#include <sys/sysctl.h>
#define NPUMOE_HAS_SYSCTL
#endif

namespace npumoe::cli {
namespace {

#ifdef NPUMOE_HAS_SYSCTL

std::string SystemText(const char* name) {
  std::array<char, 256> text = {};
  size_t size = text.size() - 1;
  return sysctlbyname(name, text.data(), &size, nullptr, 0) == 0 ? text.data() : "";
}

bool SystemFlag(const std::string& name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name.c_str(), &value, &size, nullptr, 0) == 0 && value != 0;
}

void DescribeSystem(MachineFacts& facts) {
  facts.system = "macOS " + SystemText("kern.osproductversion");
  facts.build = SystemText("kern.osversion");
  facts.chip = SystemText("machdep.cpu.brand_string");
  for (const char* feature :
       {"FEAT_FP16", "FEAT_DotProd", "FEAT_BF16", "FEAT_I8MM", "FEAT_SME", "FEAT_SME2"}) {
    if (SystemFlag(std::string("hw.optional.arm.") + feature)) facts.features.push_back(feature);
  }
}

#else

// The value of the first line "KEY<separator>VALUE" of a small text file, without quotes.
std::string Field(const char* path, std::string_view key, char separator) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t end = line.find(separator);
    if (end == std::string::npos || !line.starts_with(key)) continue;
    if (line.find_first_not_of(" \t", key.size()) != end) continue;  // a longer key
    const size_t begin = line.find_first_not_of(" \t\"", end + 1);
    if (begin == std::string::npos) return "";
    return line.substr(begin, line.find_last_not_of(" \t\"") + 1 - begin);
  }
  return "";
}

bool MattersToKernels(const std::string& feature) {
  constexpr std::array<std::string_view, 14> kBeginnings = {
      "avx",     "amx",   "sse4", "fma", "f16c", "bmi2", "vaes",
      "vpclmul", "asimd", "fphp", "sve", "sme",  "i8mm", "bf16"};
  if (feature == "smep") return false;  // begins as Arm's matrix extension, protects memory
  return std::ranges::any_of(
      kBeginnings, [&](std::string_view beginning) { return feature.starts_with(beginning); });
}

void DescribeSystem(MachineFacts& facts) {
  facts.system = Field("/etc/os-release", "PRETTY_NAME", '=');
  struct utsname kernel = {};
  if (uname(&kernel) == 0) facts.build = kernel.release;
  constexpr const char* kProcessors = "/proc/cpuinfo";
  facts.chip = Field(kProcessors, "model name", ':');
  std::istringstream features(Field(kProcessors, "flags", ':') + " " +
                              Field(kProcessors, "Features", ':'));
  for (std::string feature; features >> feature;) {
    if (MattersToKernels(feature)) facts.features.push_back(feature);
  }
}

#endif

bool ContinuesName(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
}

}  // namespace

MachineFacts DescribeMachine() {
  MachineFacts facts;
  DescribeSystem(facts);
  struct utsname machine = {};
  if (uname(&machine) == 0) facts.architecture = machine.machine;
  facts.processors = static_cast<int>(std::thread::hardware_concurrency());
  facts.memory_bytes =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return facts;
}

std::string ProfileForChip(const std::string& chip, const std::vector<std::string>& profiles) {
  const size_t maker = chip.find(' ');
  if (maker == std::string::npos) return "";
  std::string name = chip.substr(maker + 1);
  for (char& c : name) {
    c = c == ' ' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return std::ranges::find(profiles, name) == profiles.end() ? "" : name;
}

std::string WithoutHome(const std::string& text) {
  const char* variable = std::getenv("HOME");
  std::string home = variable == nullptr ? "" : variable;
  while (home.size() > 1 && home.back() == '/') home.pop_back();
  if (home.size() < 2) return text;
  std::string shortened;
  size_t begin = 0;
  for (size_t at; (at = text.find(home, begin)) != std::string::npos; begin = at + home.size()) {
    const size_t end = at + home.size();
    const bool is_whole = end == text.size() || !ContinuesName(text[end]);
    shortened += text.substr(begin, at - begin) + (is_whole ? "~" : home);
  }
  return shortened + text.substr(begin);
}

}  // namespace npumoe::cli
