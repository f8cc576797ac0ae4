// What a model says that its other form has no place for: names of fields and keys, for notes.
#pragma once

#include <string>
#include <vector>

#include "convert/source.h"

namespace npumoe {

// Of a folder that becomes a GGUF and, perhaps, a folder again: one note for each of config.json
// and tokenizer_config.json, none where all is kept.
std::vector<std::string> NotesOnLostFields(const ConvertSource& source);

// Of a GGUF that becomes a folder.
std::vector<std::string> NotesOnLostKeys(const ConvertSource& source);

}  // namespace npumoe
