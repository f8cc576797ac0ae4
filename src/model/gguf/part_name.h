// Names of the files of a model that is split: "NAME-00002-of-00003.gguf".
#pragma once

#include <optional>
#include <string>

namespace npumoe {

struct PartName {
  std::string stem;  // "NAME"
  int number = 1;    // counts from 1
  int count = 1;
  std::string extension = ".gguf";  // in either case; all parts have the same

  std::string ToString() const;
  PartName Numbered(int other) const { return {stem, other, count, extension}; }
};

// `file`: a name without folders. None: a name of another form.
std::optional<PartName> ParsePartName(const std::string& file);

}  // namespace npumoe
