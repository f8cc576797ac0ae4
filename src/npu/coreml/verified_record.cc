#include "npu/coreml/verified_record.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mapped_file.h"

namespace npumoe::coreml_device {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "npumoe-verified";
constexpr const char* kRecordName = "verified.json";
constexpr size_t kMaxRecordBytes = size_t{16} << 20;  // chosen: functions list few operations each

Result<Placement> ParsePlacement(const JsonObject& object) {
  Placement placement;
  NPUMOE_ASSIGN_OR_RETURN(placement.operations,
                          object.Int("operations", 0, std::numeric_limits<int32_t>::max()));
  NPUMOE_ASSIGN_OR_RETURN(placement.unknown, object.String("unknown"));
  NPUMOE_ASSIGN_OR_RETURN(const Json* list, object.Array("elsewhere"));
  for (const Json& item : *list) {
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject fields, JsonObject::From(item, object.name()));
    Placement::Elsewhere operation;
    NPUMOE_ASSIGN_OR_RETURN(operation.name, fields.String("name"));
    NPUMOE_ASSIGN_OR_RETURN(operation.type, fields.String("type"));
    NPUMOE_ASSIGN_OR_RETURN(operation.unit, fields.String("unit"));
    NPUMOE_ASSIGN_OR_RETURN(operation.possible, fields.Bool("possible"));
    placement.elsewhere.push_back(std::move(operation));
  }
  return placement;
}

Result<VerifiedFunctions> ParseRecord(const fs::path& path, const HostFacts& host) {
  NPUMOE_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxRecordBytes));
  NPUMOE_ASSIGN_OR_RETURN(const Json json, ParseJson(text, path.string()));
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject root, JsonObject::From(json, path.string()));
  NPUMOE_ASSIGN_OR_RETURN(const std::string format, root.String("format"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string chip, root.String("chip"));
  NPUMOE_ASSIGN_OR_RETURN(const std::string build, root.String("os_build"));
  NPUMOE_RETURN_IF_ERROR(root.Int("version", 1, 1).status());
  if (format != kFormat) return root.FieldError("format", fmt::format("must be {}", kFormat));
  VerifiedFunctions functions;
  if (chip != host.chip || build != host.os_build) return functions;
  NPUMOE_ASSIGN_OR_RETURN(const JsonObject list, root.Object("functions"));
  for (const auto& item : list.json().items()) {
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, list.Object(item.key()));
    NPUMOE_ASSIGN_OR_RETURN(functions[item.key()], ParsePlacement(object));
  }
  return functions;
}

nlohmann::ordered_json ToJson(const Placement& placement) {
  nlohmann::ordered_json elsewhere = nlohmann::ordered_json::array();
  for (const Placement::Elsewhere& operation : placement.elsewhere) {
    elsewhere.push_back({{"name", operation.name},
                         {"type", operation.type},
                         {"unit", operation.unit},
                         {"possible", operation.possible}});
  }
  return {{"operations", placement.operations},
          {"unknown", placement.unknown},
          {"elsewhere", elsewhere}};
}

}  // namespace

VerifiedFunctions ReadVerified(const fs::path& entry, const HostFacts& host) {
  const fs::path path = entry / kRecordName;
  std::error_code error;
  if (!fs::exists(path, error)) return {};
  auto functions = ParseRecord(path, host);
  if (functions.ok()) return *std::move(functions);
  LogWarning(fmt::format("{}; the program is verified again", functions.status().message()));
  return {};
}

Status AddVerified(const fs::path& entry, const HostFacts& host, const std::string& function,
                   const Placement& placement) {
  const auto known = ParseRecord(entry / kRecordName, host);  // warned of by its reader
  VerifiedFunctions functions = known.ok() ? *known : VerifiedFunctions();
  functions[function] = placement;
  nlohmann::ordered_json list = nlohmann::ordered_json::object();
  for (const auto& [name, placed] : functions) list[name] = ToJson(placed);
  const nlohmann::ordered_json record = {{"format", kFormat},
                                         {"version", 1},
                                         {"chip", host.chip},
                                         {"os_build", host.os_build},
                                         {"functions", list}};
  return WriteFileAtomically(entry / kRecordName, record.dump(1) + "\n");
}

fs::path LoadAttempt::MarkOf(const fs::path& entry, const std::string& function) {
  return entry / ("loading-" + Hasher().Add(function).Hex());
}

Result<std::unique_ptr<LoadAttempt>> LoadAttempt::Begin(const fs::path& entry,
                                                        const std::string& function) {
  fs::path mark = MarkOf(entry, function);
  auto lock = FileLock::TryOpen(mark, FileLock::Kind::kExclusive, FileLock::Missing::kIsCreated);
  if (lock) {
    int deaths = 0;
    const std::string text = lock->Read();
    std::from_chars(text.data(), text.data() + text.size(), deaths);
    if (deaths >= kMaxDeaths) {
      return Unsupported(fmt::format(
          "quarantined: {} processes ended while they loaded or first ran this program on this OS "
          "build; remove {} to try it again",
          deaths, mark.string()));
    }
    if (!lock->Write(std::to_string(deaths + 1))) {
      return IoError(fmt::format("{}: cannot be written; is the disk full?", mark.string()));
    }
  }
  return std::unique_ptr<LoadAttempt>(new LoadAttempt(std::move(mark), std::move(lock)));
}

LoadAttempt::~LoadAttempt() {
  std::error_code ignored;  // a mark that stays counts as one death
  if (lock_) fs::remove(mark_, ignored);
}

}  // namespace npumoe::coreml_device
