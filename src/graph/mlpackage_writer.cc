#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <cerrno>
#include <cstdio>
#include <set>

#include "base/hash.h"
#include "graph/graph_check.h"
#include "graph/manifest.h"
#include "graph/mil_writer.h"
#include "graph/mlpackage.h"
#include "graph/names.h"
#include "graph/output_file.h"
#include "graph/weight_blob.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

Status CheckFunctions(std::span<const Graph> functions) {
  if (functions.empty()) return InvalidInput("a package needs at least one function");
  std::set<std::string> names;
  for (const Graph& function : functions) {
    NPUMOE_RETURN_IF_ERROR(CheckGraph(function).WithContext("function " + Quoted(function.name)));
    if (!names.insert(function.name).second) {
      return InvalidInput("two functions are called " + Quoted(function.name));
    }
  }
  return OkStatus();
}

// Map entries in the order of their keys: equal models give equal bytes.
Result<std::string> Serialized(const coreml::Model& model) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    if (!model.SerializeToCodedStream(&coded)) {
      return ResourceExhausted("the program is too large for one message (2 GiB)");
    }
  }
  return bytes;
}

void SetMetadata(const PackageMetadata& metadata, const std::string& weights_hash,
                 coreml::Metadata* message) {
  message->set_description(metadata.description);
  for (const auto& [key, text] : metadata.user) (*message->mutable_user())[key] = text;
  (*message->mutable_user())[kWeightsHashKey] = weights_hash;
}

// Everything of the package below `folder`, flushed.
Status WriteContents(const fs::path& folder, std::span<const Graph> functions,
                     const PackageMetadata& metadata) {
  const fs::path model_path = folder / "Data" / kModelPath;
  const fs::path weights_path = folder / "Data" / kWeightsPath;
  std::error_code error;
  fs::create_directories(weights_path, error);
  if (error) return SystemError(weights_path, "create the folder", error.value());
  NPUMOE_ASSIGN_OR_RETURN(WeightBlobWriter weights,
                          WeightBlobWriter::Create(weights_path / "weight.bin"));
  coreml::Model model;
  model.set_specification_version(kSpecificationVersion);
  model.mutable_program()->set_version(1);
  for (const Graph& function : functions) {
    const Status appended = AppendFunction(function, weights, *model.mutable_program());
    NPUMOE_RETURN_IF_ERROR(appended.WithContext("function " + Quoted(function.name)));
  }
  DescribeFunctions(functions, *model.mutable_description());
  NPUMOE_RETURN_IF_ERROR(weights.Finish());
  SetMetadata(metadata, weights.file_hash(), model.mutable_description()->mutable_metadata());
  NPUMOE_ASSIGN_OR_RETURN(const std::string bytes, Serialized(model));
  NPUMOE_RETURN_IF_ERROR(WriteWholeFile(model_path, bytes));
  const std::string hash = Hasher().Add(bytes).Add(weights.content_hash()).Hex();
  NPUMOE_RETURN_IF_ERROR(WriteWholeFile(folder / kManifestName, ManifestText(hash)));
  for (const fs::path& written :
       {weights_path, weights_path.parent_path(), folder / "Data", folder}) {
    NPUMOE_RETURN_IF_ERROR(FlushFolder(written));
  }
  return OkStatus();
}

// Puts `finished` in the place of `package`; what stood there goes to `aside`, which is removed
// with the staging folder. A rename never replaces a folder that is not empty, so there is a moment
// in which the name is free, but none in which it leads to half a package.
Status MoveIntoPlace(const fs::path& finished, const fs::path& package, const fs::path& aside) {
  constexpr int kAttempts = 8;  // another process may put its package there in between
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (std::rename(finished.c_str(), package.c_str()) == 0) return OkStatus();
    if (errno != ENOTEMPTY && errno != EEXIST) break;
    const fs::path previous = aside.string() + std::to_string(attempt);
    if (std::rename(package.c_str(), previous.c_str()) != 0 && errno != ENOENT) break;
  }
  return SystemError(package, "move the finished package here", errno);
}

}  // namespace

Status WriteMlpackage(const fs::path& package, std::span<const Graph> functions,
                      const PackageMetadata& metadata) {
  // A path that ends in '/' names the same folder.
  const fs::path target = package.has_filename() ? package : package.parent_path();
  NPUMOE_RETURN_IF_ERROR(CheckFunctions(functions).WithContext(target.string()));
  NPUMOE_ASSIGN_OR_RETURN(const StagingFolder staging, StagingFolder::Create(target));
  const fs::path finished = staging.path() / "package";
  const Status written = WriteContents(finished, functions, metadata);
  NPUMOE_RETURN_IF_ERROR(written.WithContext("writing " + target.string()));
  NPUMOE_RETURN_IF_ERROR(MoveIntoPlace(finished, target, staging.path() / "previous"));
  return FlushFolder(target.has_parent_path() ? target.parent_path() : fs::path("."));
}

}  // namespace npumoe
