#include "npu/openvino/module_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>

namespace npumoe::openvino {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModuleName = "libnpumoe_openvino.so";
constexpr std::string_view kRuntimeName = "libopenvino.";

fs::path FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? fs::path() : fs::path(value);
}

fs::path FolderOfProgram() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) return program.parent_path();
  Dl_info info{};  // other systems: as the program was called
  if (dladdr(reinterpret_cast<const void*>(&DefaultSearch), &info) == 0) return {};
  return fs::weakly_canonical(info.dli_fname, error).parent_path();
}

// ROOT/lib/python3*/{site,dist}-packages/openvino/libs
void AddPythonPackages(const fs::path& root, std::vector<fs::path>& folders) {
  if (root.empty()) return;
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root / "lib", error)) {
    if (!entry.path().filename().string().starts_with("python3")) continue;
    for (const char* packages : {"site-packages", "dist-packages"}) {
      const fs::path libs = entry.path() / packages / "openvino" / "libs";
      std::error_code ignored;
      if (fs::is_directory(libs, ignored)) found.push_back(libs);
    }
  }
  std::sort(found.begin(), found.end());  // a folder lists in no order
  folders.insert(folders.end(), found.begin(), found.end());
}

std::vector<fs::path> RuntimeFolders(const fs::path& program_folder) {
  std::vector<fs::path> folders;
  if (const fs::path intel = FromEnvironment("INTEL_OPENVINO_DIR"); !intel.empty()) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(intel / "runtime" / "lib", error)) {
      folders.push_back(entry.path());  // intel64 or aarch64
    }
  }
  AddPythonPackages(FromEnvironment("VIRTUAL_ENV"), folders);
  // The program of a checkout lies in build/release, its environment in .venv.
  fs::path folder = program_folder;
  for (int up = 0; up < 3 && !folder.empty(); ++up) {
    AddPythonPackages(folder / ".venv", folders);
    folder = folder.parent_path();
  }
  const fs::path home = FromEnvironment("HOME");
  if (!home.empty()) AddPythonPackages(home / ".local", folders);
  for (const char* system : {"/usr/local", "/usr"}) AddPythonPackages(system, folders);
  return folders;
}

struct Opened {
  void* handle = nullptr;
  std::string reason;  // why there is none
};

Opened Open(const fs::path& library) {
  // Local: the library's symbols are the module's business alone.
  Opened opened{dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL), {}};
  if (opened.handle == nullptr) {
    const char* reason = dlerror();
    opened.reason = reason == nullptr ? "unknown reason" : reason;
  }
  return opened;
}

// Loads every OpenVINO library of the folder, so that the module finds the one that it names.
void LoadRuntimeFrom(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kRuntimeName)) Open(entry.path());
  }
}

Opened OpenWithRuntime(const fs::path& module, const std::vector<fs::path>& runtime_folders) {
  Opened opened = Open(module);
  for (const fs::path& folder : runtime_folders) {
    // Other reasons are the module's own; no folder mends them.
    if (opened.handle != nullptr || opened.reason.find(kRuntimeName) == std::string::npos) break;
    LoadRuntimeFrom(folder);
    opened = Open(module);
  }
  return opened;
}

Result<const Module*> EnterModule(void* handle, const fs::path& path) {
  const auto enter = reinterpret_cast<EntryPoint>(dlsym(handle, kEntryPoint));
  if (enter == nullptr) {
    return Unsupported(
        fmt::format("{} is no module of npumoe: it has no {}", path.string(), kEntryPoint));
  }
  const Module* module = enter();
  if (std::strcmp(module->stamp, NPUMOE_OPENVINO_STAMP) != 0) {
    return Unsupported(
        fmt::format("{} belongs to another build of npumoe (it is {}, this program is {}); build "
                    "both together",
                    path.string(), module->stamp, NPUMOE_OPENVINO_STAMP));
  }
  return module;
}

}  // namespace

LibrarySearch DefaultSearch() {
  LibrarySearch search;
  const fs::path folder = FolderOfProgram();
  if (const fs::path named = FromEnvironment("NPUMOE_OPENVINO_LIBRARY"); !named.empty()) {
    search.modules = {named};
  } else {
    search.modules = {folder / kModuleName, folder.parent_path() / "lib" / kModuleName};
  }
  search.runtime_folders = RuntimeFolders(folder);
  return search;
}

Result<const Module*> LoadModule(const LibrarySearch& search) {
  std::string looked_for;
  for (const fs::path& module : search.modules) {
    looked_for += (looked_for.empty() ? "" : ", ") + module.string();
    std::error_code error;
    if (!fs::is_regular_file(module, error)) continue;
    const Opened opened = OpenWithRuntime(module, search.runtime_folders);
    if (opened.handle != nullptr) return EnterModule(opened.handle, module);
    std::string remedy;
    if (opened.reason.find(kRuntimeName) != std::string::npos) {
      remedy =
          "; install that version (pip install openvino), or say where it is with "
          "LD_LIBRARY_PATH";
    }
    return Unsupported(opened.reason + remedy);
  }
  return Unsupported(
      fmt::format("no module found (looked for {}); build npumoe with the Python "
                  "package openvino installed, docs/openvino.md says how",
                  looked_for));
}

}  // namespace npumoe::openvino
