#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/common.h>
#if GOOGLE_PROTOBUF_VERSION < 4022000
#include <google/protobuf/stubs/logging.h>
#endif

#include <optional>
#include <set>

#include "graph/graph_check.h"
#include "graph/manifest.h"
#include "graph/mil_reader.h"
#include "graph/mil_writer.h"
#include "graph/mlpackage.h"
#include "graph/names.h"
#include "graph/weight_blob.h"

namespace npumoe {
namespace {

namespace fs = std::filesystem;

// A program of 128 experts and four functions has about 2 MiB. Parsed messages take up to some
// 40 times their encoded size, so this bounds memory near 1 GiB (chosen).
constexpr size_t kMaxModelBytes = size_t{32} << 20;
constexpr int kMaxNesting = 32;       // our messages nest 12 deep
constexpr size_t kMaxFunctions = 64;  // chosen: buckets of one group, with room

Status CheckRegularFile(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return OkStatus();
  return NotFound(path.string() + ": no such file; write the package again");
}

Result<coreml::Model> ReadModel(const fs::path& path) {
  NPUMOE_RETURN_IF_ERROR(CheckRegularFile(path));
  NPUMOE_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const std::span<const std::byte> bytes = file->bytes();
  if (bytes.size() > kMaxModelBytes) {
    return Unsupported(path.string() + ": " + std::to_string(bytes.size()) + " bytes; at most " +
                       std::to_string(kMaxModelBytes) + " are allowed");
  }
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t*>(bytes.data()),
                                                static_cast<int>(bytes.size()));
  stream.SetTotalBytesLimit(static_cast<int>(kMaxModelBytes));
  stream.SetRecursionLimit(kMaxNesting);
#if GOOGLE_PROTOBUF_VERSION < 4022000  // later ones log through a library that is silent here
  const google::protobuf::LogSilencer silencer;  // our message is enough
#endif
  coreml::Model model;
  if (bytes.empty() || !model.ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage()) {
    return InvalidInput(path.string() + ": the " + std::to_string(bytes.size()) +
                        " bytes are not a Core ML model message (truncated or damaged); write "
                        "the package again");
  }
  return model;
}

Status CheckVersions(const coreml::Model& model) {
  if (!model.has_program()) {
    return Unsupported("the model is not an ML Program; only those can be read");
  }
  if (model.specification_version() != kSpecificationVersion) {
    return Unsupported("specification version " + std::to_string(model.specification_version()) +
                       "; only " + std::to_string(kSpecificationVersion) + " is allowed");
  }
  if (model.program().version() != 1) {
    return Unsupported("program version " + std::to_string(model.program().version()) +
                       "; only 1 is allowed");
  }
  return OkStatus();
}

// One function, its graph checked, agreeing with its description.
template <class Description>
Status AppendFunction(const coreml::Program& program, const std::string& name,
                      const Description& description, const WeightBlobFile* weights,
                      Mlpackage& package) {
  const auto function = program.functions().find(name);
  if (function == program.functions().end()) {
    return NotFound("function " + Quoted(name) + " is described but not in the program");
  }
  const auto read = [&]() -> Status {
    if (function->second.opset() != kOpset) {
      return Unsupported("opset " + Quoted(function->second.opset()) + "; only " + kOpset +
                         " is allowed");
    }
    NPUMOE_ASSIGN_OR_RETURN(Graph graph, ReadFunction(name, function->second, weights));
    NPUMOE_RETURN_IF_ERROR(CheckGraph(graph));
    NPUMOE_RETURN_IF_ERROR(CheckInterface(graph, description));
    package.functions.push_back(std::move(graph));
    return OkStatus();
  };
  return read().WithContext("function " + Quoted(name));
}

Status AppendFunctions(const coreml::Model& model, const WeightBlobFile* weights,
                       Mlpackage& package) {
  const coreml::ModelDescription& description = model.description();
  const coreml::Program& program = model.program();
  if (program.functions().size() > kMaxFunctions) {
    return Unsupported(std::to_string(program.functions().size()) + " functions; at most " +
                       std::to_string(kMaxFunctions) + " are allowed");
  }
  if (description.functions_size() == 0) {
    if (program.functions().size() != 1) {
      return InvalidInput("the program has " + std::to_string(program.functions().size()) +
                          " functions, but only one is described");
    }
    return AppendFunction(program, "main", description, weights, package);
  }
  if (description.inputs_size() + description.outputs_size() + description.states_size() > 0) {
    return InvalidInput("inputs and outputs are described beside those of the functions");
  }
  std::set<std::string> names;
  for (const coreml::FunctionDescription& function : description.functions())
    names.insert(function.name());
  if (names.size() != program.functions().size() ||
      static_cast<size_t>(description.functions_size()) != names.size() ||
      !names.contains(description.default_function())) {
    return InvalidInput("the described functions are not those of the program, or the default " +
                        Quoted(description.default_function()) + " is not one of them");
  }
  for (const coreml::FunctionDescription& function : description.functions()) {
    NPUMOE_RETURN_IF_ERROR(AppendFunction(program, function.name(), function, weights, package));
  }
  return OkStatus();
}

PackageMetadata MetadataOf(const coreml::Model& model) {
  PackageMetadata metadata;
  metadata.description = model.description().metadata().description();
  for (const auto& [key, text] : model.description().metadata().user()) metadata.user[key] = text;
  return metadata;
}

// Whole headers say nothing about the numbers between them.
Status CheckWeightsHash(const fs::path& package, const WeightBlobFile& weights,
                        const PackageMetadata& metadata) {
  const auto expected = metadata.user.find(kWeightsHashKey);
  if (expected == metadata.user.end()) return OkStatus();
  const std::string hash = weights.Hash();
  if (hash == expected->second) return OkStatus();
  return InvalidInput(package.string() + ": the weight file has the hash " + hash + ", it had " +
                      Quoted(expected->second) +
                      " when it was written, so it is damaged; compile it again");
}

}  // namespace

Result<const Graph*> Mlpackage::Function(const std::string& name) const {
  std::string known;
  for (const Graph& function : functions) {
    if (function.name == name) return &function;
    known += (known.empty() ? "" : ", ") + function.name;
  }
  return NotFound("the package has no function " + Quoted(name) + "; it has " + known);
}

Result<Mlpackage> ReadMlpackage(const fs::path& package) {
  NPUMOE_ASSIGN_OR_RETURN(const PackagePaths paths, ReadManifest(package));
  NPUMOE_ASSIGN_OR_RETURN(const coreml::Model model, ReadModel(paths.model));
  const std::string shown = paths.model.string();
  NPUMOE_RETURN_IF_ERROR(CheckVersions(model).WithContext(shown));
  Mlpackage read;
  read.metadata = MetadataOf(model);
  std::optional<WeightBlobFile> weights;
  if (!paths.weights.empty()) {
    NPUMOE_RETURN_IF_ERROR(CheckRegularFile(paths.weights));
    NPUMOE_ASSIGN_OR_RETURN(weights, WeightBlobFile::Open(paths.weights));
    NPUMOE_RETURN_IF_ERROR(CheckWeightsHash(package, *weights, read.metadata));
    read.storage.push_back(weights->storage());
    read.weight_file_bytes = static_cast<int64_t>(weights->storage()->bytes().size());
  }
  NPUMOE_RETURN_IF_ERROR(
      AppendFunctions(model, weights ? &*weights : nullptr, read).WithContext(shown));
  read.metadata.user.erase(kWeightsHashKey);
  return read;
}

}  // namespace npumoe
