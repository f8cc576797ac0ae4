// model.safetensors.index.json of a folder with two shards: "a.safetensors" holds x and y,
// "b.safetensors" holds z.
#include <array>
#include <map>

#include "fuzz/fuzz.h"
#include "fuzz/scratch_files.h"
#include "model/safetensors.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

void WriteShard(const fs::path& path, const std::vector<std::string>& names) {
  constexpr std::array<float, 4> kValues = {1, 2, 3, 4};
  std::map<std::string, TensorView> tensors;
  for (const std::string& name : names) {
    tensors[name] = {DType::kF32, Shape{2, 2}, std::as_bytes(std::span(kValues)).data()};
  }
  fuzz::Require(WriteSafetensors(path, tensors).ok(), "the shards can be written");
}

const fs::path& Folder() {
  static const fuzz::ScratchFolder folder;
  static const bool made = [] {
    WriteShard(folder / "a.safetensors", {"x", "y"});
    WriteShard(folder / "b.safetensors", {"z"});
    return true;
  }();
  fuzz::Require(made, "the folder is made once");
  return folder.path();
}

void Read(std::string_view input) {
  fuzz::WriteFile(Folder() / "model.safetensors.index.json", input);
  const Result<SafetensorsFolder> folder = SafetensorsFolder::Open(Folder());
  if (!folder.ok()) {
    fuzz::Require(folder.status().message().find(Folder().string()) != std::string::npos,
                  "an error names the folder");
    return;
  }
  size_t tensors = 0;
  for (const Safetensors& file : folder->files()) tensors += file.tensors().size();
  fuzz::Require(tensors == folder->tensors().size(), "every tensor of every shard is known");
  for (const auto& [name, view] : folder->tensors()) {
    fuzz::Touch({view.data, view.bytes()});
    fuzz::Require(fs::is_regular_file(folder->FileOf(name)), "the file of '" + name + "' is known");
  }
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
