// The files of a package as bytes, for tests that compare or damage them.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "base/check.h"
#include "coreml_min.pb.h"

namespace npumoe::testing {

inline std::string ReadBytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void WriteBytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  NPUMOE_CHECK(file.good());
}

inline std::filesystem::path ModelFile(const std::filesystem::path& package) {
  return package / "Data/com.apple.CoreML/model.mlmodel";
}
inline std::filesystem::path WeightFile(const std::filesystem::path& package) {
  return package / "Data/com.apple.CoreML/weights/weight.bin";
}
inline std::filesystem::path ManifestFile(const std::filesystem::path& package) {
  return package / "Manifest.json";
}

// Every regular file below `folder`, by its relative path.
inline std::map<std::string, std::string> AllFiles(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    files[std::filesystem::relative(entry.path(), folder).string()] = ReadBytes(entry.path());
  }
  return files;
}

// Lets `edit` change the model message of a package on disk.
template <class Edit>
void EditModel(const std::filesystem::path& package, const Edit& edit) {
  coreml::Model model;
  NPUMOE_CHECK(model.ParseFromString(ReadBytes(ModelFile(package))));
  edit(model);
  WriteBytes(ModelFile(package), model.SerializeAsString());
}

// The block of the function "main".
inline coreml::Block& MainBlock(coreml::Model& model) {
  coreml::Function& function = (*model.mutable_program()->mutable_functions())["main"];
  return (*function.mutable_specializations())[function.opset()];
}

// The first operation of a type.
inline coreml::OperationMessage& FirstOf(coreml::Block& block, const std::string& type) {
  for (coreml::OperationMessage& operation : *block.mutable_operations()) {
    if (operation.type() == type) return operation;
  }
  NPUMOE_CHECK(!"an operation of this type");
  return *block.add_operations();
}

}  // namespace npumoe::testing
