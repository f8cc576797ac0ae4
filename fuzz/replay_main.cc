// Runs a fuzz target on files instead of random inputs: `fuzz_NAME FILE|FOLDER...`. For corpora in
// `make test` and for looking at one finding; needs no libFuzzer.
//
// An input that takes longer than kMaxSeconds ends the program, as a crash does; the input's path
// is the last line of the output then.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "fuzz/fuzz.h"

namespace {

namespace fs = std::filesystem;

constexpr unsigned kMaxSeconds = 30;  // chosen: inputs take milliseconds, machines may be busy

std::array<char, 4096> g_current_input;  // for the signal handler

void NameTheInput(int signal) {
  const char* what = signal == SIGALRM ? "\nreplay: takes too long: " : "\nreplay: failed on: ";
  (void)!::write(STDERR_FILENO, what, std::strlen(what));
  (void)!::write(STDERR_FILENO, g_current_input.data(), std::strlen(g_current_input.data()));
  (void)!::write(STDERR_FILENO, "\n", 1);
  ::_exit(1);
}

std::vector<fs::path> FilesOf(const fs::path& path) {
  std::vector<fs::path> files;
  if (!fs::is_directory(path)) return {path};
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool Replay(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file) {
    std::fprintf(stderr, "replay: cannot read %s\n", path.c_str());
    return false;
  }
  g_current_input.fill(0);
  path.string().copy(g_current_input.data(), g_current_input.size() - 1);
  // Exactly as large as the input, so that a read beyond it is seen.
  const auto data = std::make_unique<uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), data.get());
  ::alarm(kMaxSeconds);
  LLVMFuzzerTestOneInput(data.get(), bytes.size());
  ::alarm(0);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGALRM, NameTheInput);
  ::signal(SIGABRT, NameTheInput);  // sanitizers end so with abort_on_error=1
  size_t count = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 1; i < argc; ++i) {
    for (const fs::path& file : FilesOf(argv[i])) {
      if (!Replay(file)) return 1;
      ++count;
    }
  }
  if (count == 0) {
    std::fprintf(stderr, "replay: no input; name files or folders\n");
    return 1;
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  std::printf("%zu inputs in %.2f s\n", count, elapsed.count());
  return 0;
}
