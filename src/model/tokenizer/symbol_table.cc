#include "model/tokenizer/symbol_table.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/utf8.h"

namespace npumoe {
namespace {

bool IsControl(const std::vector<bool>& is_control, int32_t id) {
  return static_cast<size_t>(id) < is_control.size() && is_control[static_cast<size_t>(id)];
}

// Which option of the model would apply to bytes without a token; empty: none.
std::string FallbackField(const BpeSpec& spec) {
  if (!spec.unknown_token.empty()) return "unk_token";
  if (spec.fuse_unknown) return "fuse_unk";
  return spec.byte_fallback ? "byte_fallback" : "";
}

}  // namespace

int ByteOfFallbackToken(std::string_view spelling) {
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling.back() != '>') return -1;
  int byte = -1;
  const auto [end, error] = std::from_chars(&spelling[3], &spelling[5], byte, 16);
  return error == std::errc() && end == &spelling[5] && byte >= 0 ? byte : -1;
}

SymbolTable::SymbolTable(std::string name) : name_(std::move(name)) {
  byte_ids_.fill(-1);
  ascii_ids_.fill(-1);
}

Result<SymbolTable> SymbolTable::Build(const BpeSpec& spec, const std::vector<bool>& is_control,
                                       const std::string& name) {
  SymbolTable table(name);
  table.kind_ = spec.symbols;
  NPUMOE_RETURN_IF_ERROR(spec.symbols == BpeSymbols::kBytes
                             ? table.AddBytes(spec, is_control)
                             : table.AddCharacters(spec, is_control));
  return table;
}

Status SymbolTable::AddBytes(const BpeSpec& spec, const std::vector<bool>& is_control) {
  for (const auto& [spelling, id] : spec.vocabulary) {
    if (spelling.size() > 2 || IsControl(is_control, id)) continue;  // a byte is spelled in 1 or 2
    const std::optional<std::string> bytes = BytesOfSpelling(spelling);
    if (bytes && bytes->size() == 1) byte_ids_[static_cast<uint8_t>((*bytes)[0])] = id;
  }
  const std::string fallback = FallbackField(spec);
  if (fallback.empty() || std::ranges::count(byte_ids_, -1) == 0) return OkStatus();
  return Unsupported(name_ + ": field 'model." + fallback +
                     "' is set and not every byte is a token of " + spec.vocabulary_field +
                     "; byte-level vocabularies are supported only with all 256 bytes");
}

Status SymbolTable::AddCharacters(const BpeSpec& spec, const std::vector<bool>& is_control) {
  for (const auto& [spelling, id] : spec.vocabulary) {
    if (spelling == spec.unknown_token && !spelling.empty()) unknown_id_ = id;
    if (const int byte = ByteOfFallbackToken(spelling); byte >= 0) {
      byte_ids_[static_cast<size_t>(byte)] = id;
    }
    if (spelling.empty() || IsControl(is_control, id)) continue;
    const Utf8Step step = ReadUtf8(spelling, 0);
    if (!step.valid || step.bytes != spelling.size()) continue;
    if (step.code < ascii_ids_.size()) {
      ascii_ids_[step.code] = id;
    } else {
      character_ids_.emplace(step.code, id);
    }
  }
  has_fallback_ = spec.byte_fallback;
  fuses_unknown_ = spec.fuse_unknown;
  if (spec.unknown_token.empty() || unknown_id_ >= 0) return OkStatus();
  return InvalidInput(name_ + ": field 'model.unk_token': '" + spec.unknown_token +
                      "' is not a token of " + spec.vocabulary_field);
}

Status SymbolTable::Append(std::string_view piece, std::vector<int32_t>* symbols) const {
  return kind_ == BpeSymbols::kBytes ? AppendBytes(piece, symbols)
                                     : AppendCharacters(piece, symbols);
}

Status SymbolTable::AppendBytes(std::string_view piece, std::vector<int32_t>* symbols) const {
  for (const char c : piece) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte_ids_[byte] < 0) {
      return InvalidInput(name_ + ": the vocabulary has no token for byte " + std::to_string(byte) +
                          ", so the text cannot be encoded; leave that character out");
    }
    symbols->push_back(byte_ids_[byte]);
  }
  return OkStatus();
}

Status SymbolTable::AppendCharacters(std::string_view piece, std::vector<int32_t>* symbols) const {
  bool was_unknown = false;
  for (size_t i = 0; i < piece.size();) {
    const Utf8Step step = ReadUtf8(piece, i);
    int32_t id = -1;
    if (step.code < ascii_ids_.size()) {
      id = ascii_ids_[step.code];
    } else if (const auto found = character_ids_.find(step.code); found != character_ids_.end()) {
      id = found->second;
    }
    if (id >= 0) {
      symbols->push_back(id);
      was_unknown = false;
    } else {
      NPUMOE_RETURN_IF_ERROR(AppendUnknown(piece.substr(i, step.bytes), &was_unknown, symbols));
    }
    i += step.bytes;
  }
  return OkStatus();
}

// `was_unknown`: the last symbol is the unknown token.
Status SymbolTable::AppendUnknown(std::string_view character, bool* was_unknown,
                                  std::vector<int32_t>* symbols) const {
  const auto id_of = [&](char c) { return byte_ids_[static_cast<uint8_t>(c)]; };
  const auto has_id = [&](char c) { return id_of(c) >= 0; };
  if (has_fallback_ && std::ranges::all_of(character, has_id)) {
    for (const char c : character) symbols->push_back(id_of(c));
    *was_unknown = false;
    return OkStatus();
  }
  if (unknown_id_ < 0) {
    return InvalidInput(name_ + ": the vocabulary has no token for the character '" +
                        std::string(character) + "' nor for its bytes; leave it out");
  }
  if (!*was_unknown || !fuses_unknown_) symbols->push_back(unknown_id_);
  *was_unknown = true;
  return OkStatus();
}

}  // namespace npumoe
