#include "npu/profile_write.h"

#include <fmt/format.h>

#include <algorithm>

namespace npumoe {
namespace {

constexpr unsigned char kFirstPrintable = 0x20;
constexpr unsigned char kDelete = 0x7f;

// "npu.tflops[1]" -> "npu.tflops"; other keys as they are.
std::string ListOf(const std::string& key) { return key.substr(0, key.find('[')); }

// "limits.graph.max_batch" -> "limits.graph"; "memory_bytes" -> "".
std::string TableOf(const std::string& key) {
  const size_t dot = key.rfind('.');
  return dot == std::string::npos ? "" : key.substr(0, dot);
}

std::string NameIn(const std::string& key) {
  const size_t dot = key.rfind('.');
  return dot == std::string::npos ? key : key.substr(dot + 1);
}

bool IsPoint(const FigureOrigin& entry) { return entry.key.ends_with(']'); }

std::string FieldsOf(const FigureOrigin& entry) {
  std::string fields = IsPoint(entry) ? fmt::format("rows = {}, ", entry.rows) : "";
  fields += fmt::format("value = {}, provenance = \"{}\"", entry.literal, Name(entry.provenance));
  if (entry.spread > 0) fields += fmt::format(", spread = {:.3g}", entry.spread);
  return fields + ", source = " + TomlText(entry.source);
}

}  // namespace

std::string TomlText(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += code < kFirstPrintable || code == kDelete ? ' ' : c;
  }
  return quoted + '"';
}

std::string TomlTexts(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) quoted.push_back(TomlText(text));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

std::string WriteChipProfile(const std::string& comment, const std::string& description,
                             std::span<const FigureOrigin> entries) {
  std::string text = fmt::format("# {}\n", comment);
  text += "# Format, units and the meaning of provenance and spread: chips/README.md.\n";
  text += "description = " + TomlText(description) + "\n";
  std::string table, list;
  for (const FigureOrigin& entry : entries) {
    const std::string in_list = IsPoint(entry) ? ListOf(entry.key) : "";
    if (!list.empty() && in_list != list) text += "]\n";
    if (TableOf(ListOf(entry.key)) != table) {
      table = TableOf(ListOf(entry.key));
      text += fmt::format("\n[{}]\n", table);
    }
    if (in_list.empty()) {
      text += fmt::format("{} = {{ {} }}\n", NameIn(entry.key), FieldsOf(entry));
    } else {
      if (in_list != list) text += fmt::format("{} = [\n", NameIn(in_list));
      text += fmt::format("  {{ {} }},\n", FieldsOf(entry));
    }
    list = in_list;
  }
  return list.empty() ? text : text + "]\n";
}

void ReplaceEntries(std::vector<FigureOrigin>& entries, const std::string& key,
                    const std::vector<FigureOrigin>& by) {
  const auto is_old = [&](const FigureOrigin& entry) { return ListOf(entry.key) == key; };
  const auto in_table = [&](const FigureOrigin& entry) {
    return TableOf(ListOf(entry.key)) == TableOf(key);
  };
  auto first = std::ranges::find_if(entries, is_old);
  if (first == entries.end()) {
    first = std::ranges::find_if(entries.rbegin(), entries.rend(), in_table).base();
  }
  const auto at = first - entries.begin();
  std::erase_if(entries, is_old);
  entries.insert(entries.begin() + at, by.begin(), by.end());
}

FigureOrigin EntryOf(const std::string& key, const Figure& figure) {
  const std::string value = fmt::format("{:.5g}", figure.value);
  return {key, value, figure.provenance, figure.spread, figure.source, value, 0};
}

std::vector<FigureOrigin> EntriesOf(const std::string& key, std::span<const RatePoint> points) {
  std::vector<FigureOrigin> entries;
  for (const RatePoint& point : points) {
    entries.push_back(EntryOf(fmt::format("{}[{}]", key, entries.size()), point.rate));
    entries.back().rows = point.rows;
  }
  return entries;
}

}  // namespace npumoe
