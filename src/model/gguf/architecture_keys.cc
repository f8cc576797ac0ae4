#include "model/gguf/architecture_keys.h"

namespace npumoe {
namespace {

constexpr std::string_view kExactPrefix = "npumoe.exact.";

std::string Join(std::string_view prefix, std::string_view suffix) {
  return std::string(prefix) + "." + std::string(suffix);
}

}  // namespace

std::string ArchitectureKeys::Key(std::string_view suffix) const {
  return Join(architecture_.name, suffix);
}

Result<int64_t> ArchitectureKeys::UniformInt(std::string_view suffix, int64_t min,
                                             int64_t max) const {
  const std::string key = Key(suffix);
  const GgufValue* value = metadata_.Find(key);
  if (value == nullptr || value->type != GgufType::kArray) return metadata_.Int(key, min, max);
  NPUMOE_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers, metadata_.Ints(key, min, max));
  for (const int64_t number : numbers) {
    if (number != numbers.front()) {
      return metadata_.KeyError(key, "this build supports models whose layers are alike in it");
    }
  }
  if (!numbers.empty()) return numbers.front();
  return metadata_.KeyError(key, "it must not be empty");
}

Result<int> ArchitectureKeys::Dimension(std::string_view suffix, int max) const {
  NPUMOE_ASSIGN_OR_RETURN(const int64_t value, UniformInt(suffix, 1, max));
  return static_cast<int>(value);
}

Result<int> ArchitectureKeys::Dimension(std::string_view suffix, int max, int fallback) const {
  if (!Has(suffix)) return fallback;
  NPUMOE_ASSIGN_OR_RETURN(const int64_t value, UniformInt(suffix, 0, max));
  return static_cast<int>(value);
}

Result<double> ArchitectureKeys::Number(std::string_view suffix, double min, double max,
                                        double fallback) const {
  NPUMOE_ASSIGN_OR_RETURN(const double usual, metadata_.Number(Key(suffix), min, max, fallback));
  const std::string exact_key = std::string(kExactPrefix) + Key(suffix);
  NPUMOE_ASSIGN_OR_RETURN(const double exact, metadata_.Number(exact_key, min, max, usual));
  if (static_cast<float>(exact) == static_cast<float>(usual)) return exact;
  return metadata_.KeyError(
      exact_key, "it contradicts key '" + Key(suffix) + "', which is " + std::to_string(usual));
}

Result<float> ArchitectureKeys::Float(std::string_view suffix, double min, double max,
                                      float fallback) const {
  NPUMOE_ASSIGN_OR_RETURN(const double value,
                          metadata_.Number(Key(suffix), min, max, double{fallback}));
  return static_cast<float>(value);
}

Result<std::string> ArchitectureKeys::String(std::string_view suffix, std::string fallback) const {
  return metadata_.String(Key(suffix), std::move(fallback));
}

std::string ArchitectureKeyWriter::Key(std::string_view suffix) const {
  return Join(architecture_.name, suffix);
}

void ArchitectureKeyWriter::Add(std::string_view suffix, double value) {
  const auto usual = static_cast<float>(value);
  builder_.AddF32(Key(suffix), usual);
  if (double{usual} != value) builder_.AddF64(std::string(kExactPrefix) + Key(suffix), value);
}

}  // namespace npumoe
