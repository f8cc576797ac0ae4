// Writing chip profiles: the text that ParseChipProfile (profile.h) reads, entry by entry, so that
// what a profile takes over from another one keeps its origin.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "npu/profile.h"

namespace npumoe {

// A text as TOML writes it on one line, quotes included; control characters become spaces.
std::string TomlText(const std::string& text);
std::string TomlTexts(const std::vector<std::string>& texts);  // ["a", "b"]

// The file of a profile: `comment` (one line) first, then the description and all entries. Entries
// of one table stand together and tables in the order of FigureOrigin lists of profiles.
std::string WriteChipProfile(const std::string& comment, const std::string& description,
                             std::span<const FigureOrigin> entries);

// The entries of one key, "npu.launch_ms" or "npu.tflops" (all its points), replaced by others;
// what is new stands last in its table.
void ReplaceEntries(std::vector<FigureOrigin>& entries, const std::string& key,
                    const std::vector<FigureOrigin>& by);
// An entry of a number.
FigureOrigin EntryOf(const std::string& key, const Figure& figure);
// The points of a rate, keys "KEY[0]", "KEY[1]", ...
std::vector<FigureOrigin> EntriesOf(const std::string& key, std::span<const RatePoint> points);

}  // namespace npumoe
