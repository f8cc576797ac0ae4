// What this machine is, for `npumoe doctor`: system, processor, memory. No name of machine or user.
#pragma once

#include <string>
#include <vector>

namespace npumoe::cli {

struct MachineFacts {
  std::string system;        // "Debian GNU/Linux 12 (bookworm)", "macOS 15.5"
  std::string build;         // of the system: "24F74", or of the kernel: "6.1.0-18-amd64"
  std::string chip;          // "AMD EPYC 9R14"; empty: not told
  std::string architecture;  // "x86_64", "arm64"
  std::vector<std::string>
      features;  // of the processor that matter to kernels: "avx512f", "FEAT_I8MM"
  int processors = 0;
  double memory_bytes = 0;
};
MachineFacts DescribeMachine();

// The chip profile for a processor of this name among `profiles`: "Apple M2 Max" -> "m2-max".
// Empty: there is none.
std::string ProfileForChip(const std::string& chip, const std::vector<std::string>& profiles);

// `text` with the user's home folder as "~".
std::string WithoutHome(const std::string& text);

}  // namespace npumoe::cli
