#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "base/json.h"
#include "model/safetensors.h"

namespace npumoe {
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

// Tensor name -> shard, from the index. A shard is a plain file name: an index from the world
// must not lead us out of its folder.
Result<std::map<std::string, std::string>> ReadIndex(const std::filesystem::path& path) {
  NPUMOE_ASSIGN_OR_RETURN(const Json json, ReadJsonFile(path));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject index, JsonObject::From(json, path.string()));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject weight_map, index.Object("weight_map"));
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, value] : weight_map.json().items()) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string shard, weight_map.String(tensor));
    const bool plain = shard.find_first_of(std::string_view("/\\\0", 3)) == shard.npos;
    if (!plain || !shard.ends_with(".safetensors")) {
      return weight_map.FieldError(tensor,
                                   "the name of a .safetensors file in the same folder is needed");
    }
    shards.emplace(tensor, shard);
  }
  if (!shards.empty()) return shards;
  return index.FieldError("weight_map", "it names no tensor; download the index again");
}

Status WrongShard(const std::filesystem::path& index, const std::string& tensor,
                  const std::string& placed, const std::string& found) {
  return InvalidInput(index.string() + ": places tensor '" + tensor + "' in " + placed + ", but " +
                      found + "; index and shards belong to different downloads");
}

}  // namespace

Result<SafetensorsFolder> SafetensorsFolder::Open(const std::filesystem::path& folder) {
  SafetensorsFolder result;
  result.folder_ = folder;
  std::error_code ignored;  // a file that cannot be examined fails when it is opened
  if (std::filesystem::exists(folder / kSingleFile, ignored)) {
    NPUMOE_ASSIGN_OR_RETURN(Safetensors file, Safetensors::Open(folder / kSingleFile));
    result.tensors_ = file.tensors();
    result.files_.push_back(std::move(file));
    return result;
  }
  const std::filesystem::path index = folder / kIndexFile;
  if (!std::filesystem::exists(index, ignored)) {
    return NotFound(folder.string() + ": has neither " + kSingleFile + " nor " + kIndexFile +
                    "; give the folder of a model in safetensors format");
  }
  NPUMOE_ASSIGN_OR_RETURN(const auto shard_of, ReadIndex(index));
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    auto opened = Safetensors::Open(folder / shard);
    if (!opened.ok()) return opened.status().WithContext(index.string() + " names a shard");
    for (const auto& [tensor, view] : opened->tensors()) {
      const auto placed = shard_of.find(tensor);
      if (placed != shard_of.end() && placed->second != shard) {
        return WrongShard(index, tensor, placed->second, "it stands in " + shard);
      }
      if (!result.tensors_.emplace(tensor, view).second) {
        return InvalidInput((folder / shard).string() + ": tensor '" + tensor +
                            "' stands in an earlier shard, too; keep one of them");
      }
    }
    result.files_.push_back(std::move(opened).value());
  }
  for (const auto& [tensor, shard] : shard_of) {
    if (!result.tensors_.contains(tensor)) {
      return WrongShard(index, tensor, shard, "that file has no such tensor");
    }
  }
  return result;
}

std::filesystem::path SafetensorsFolder::FileOf(const std::string& tensor) const {
  for (const Safetensors& file : files_) {
    if (file.tensors().contains(tensor)) return file.path();
  }
  return folder_;
}

}  // namespace npumoe
