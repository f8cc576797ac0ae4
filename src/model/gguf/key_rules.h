// Which keys "ARCHITECTURE.*" a GGUF may have. Other engines act on keys that this one does not
// know; a model that is computed without them gives other results, and nothing shows it. So a key
// is either read (here or in gguf_config_read.cc, gguf_moe.cc, gguf_rope.cc, which refuse values
// that have no effect here where they have one elsewhere), or it has the value with which it
// changes nothing, or the file is refused.
#pragma once

#include "base/status.h"
#include "model/gguf/architecture_keys.h"

namespace npumoe {

// Fails for the first key of the file's architecture that is neither read nor neutral; the message
// says which value would be.
Status CheckGgufKeys(const ArchitectureKeys& keys);

}  // namespace npumoe
