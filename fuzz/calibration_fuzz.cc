// A calibration file. A file states the hash of its contents, which random changes never hit, so
// the target corrects it before it looks further.
#include "calibrate/calibration.h"
#include "fuzz/fuzz.h"

namespace npumoe {
namespace {

constexpr char kName[] = "input.calib.json";

// The input with the hash that the reader's message asks for; as it is when that is not the fault.
std::string WithRightHash(std::string_view input, const std::string& message) {
  const auto between = [&](std::string_view before) -> std::string {
    const size_t begin = message.find(before);
    if (begin == message.npos) return "";
    const size_t end = message.find('\'', begin + before.size());
    return message.substr(begin + before.size(), end - begin - before.size());
  };
  std::string text(input);
  const std::string stated = "\"" + between("field 'hash': is '") + "\"";
  const std::string actual = "\"" + between("the contents give '") + "\"";
  if (stated.size() == 2 || actual.size() == 2) return text;
  // Sooner or later the stated hash is that of the field, not of another one with the same text.
  if (const size_t at = text.rfind(stated); at != text.npos)
    text.replace(at, stated.size(), actual);
  return text;
}

void CheckLoads(const Calibration& calibration) {
  constexpr int kChunkTokens = 64;
  for (const SequenceBorders borders : {SequenceBorders::kKeep, SequenceBorders::kIgnore}) {
    const Result<ChunkLoads> loads = LoadsPerChunk(calibration, kChunkTokens, borders);
    if (!loads.ok()) continue;
    const int64_t assignments = int64_t{kChunkTokens} * calibration.experts_per_token;
    for (const std::vector<int32_t>& layer : loads->layers) {
      int64_t sum = 0;
      for (const int32_t load : layer) sum += load;
      fuzz::Require(sum == loads->chunks * assignments, "a chunk's loads add up to tokens * k");
    }
  }
}

void Read(std::string_view input) {
  std::string text(input);
  Result<Calibration> calibration = ParseCalibration(text, kName);
  if (!calibration.ok()) {
    const std::string message = calibration.status().message();
    fuzz::Require(message.find(kName) == 0, "an error names the file");
    text = WithRightHash(input, message);
    calibration = ParseCalibration(text, kName);
    if (!calibration.ok()) return;
  }
  const std::string written = SerializeCalibration(*calibration);
  const Result<Calibration> again = ParseCalibration(written, "written.calib.json");
  fuzz::Require(again.ok(), "what was written can be read: " + again.status().message());
  fuzz::Require(SerializeCalibration(*again) == written, "it is written the same way twice");
  CheckLoads(*calibration);
  const Result<Calibration> twice = MergeCalibrations(*calibration, *again);
  fuzz::Require(twice.ok(), "a calibration can be merged with itself");
  fuzz::Require(twice->tokens() == 2 * calibration->tokens(), "merging adds the tokens up");
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
