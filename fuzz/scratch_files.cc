#include "fuzz/scratch_files.h"

#include <stdlib.h>

#include <fstream>
#include <string>
#include <system_error>

#include "fuzz/fuzz.h"

namespace npumoe::fuzz {

namespace fs = std::filesystem;

ScratchFolder::ScratchFolder() {
  std::error_code ignored;
  const fs::path parent =
      fs::is_directory("/dev/shm", ignored) ? "/dev/shm" : fs::temp_directory_path();
  std::string name = (parent / "npumoe-fuzz-XXXXXX").string();
  Require(::mkdtemp(name.data()) != nullptr, "a scratch folder can be made in " + parent.string());
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void WriteFile(const fs::path& path, std::string_view contents) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (!file) {
    fs::create_directories(path.parent_path());
    file.open(path, std::ios::binary | std::ios::trunc);
  }
  file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  file.close();
  Require(file.good(), "the scratch file " + path.string() + " can be written");
}

}  // namespace npumoe::fuzz
