// Where `npumoe convert` writes: which kind of output a name asks for, what must not be replaced,
// and how a folder gets its place.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/status.h"
#include "convert/report.h"

namespace npumoe::cli {

enum class OutputKind { kGguf, kFolder };
enum class Replace { kNothing, kOutput };

// NAME.gguf (in either case) is a file. A name with another ending of letters is refused: it is a
// file of a kind that is not written, or a slip; "NAME.ending/" is a folder.
Result<OutputKind> OutputKindOf(const std::string& out);

// The input must survive, and so must what nobody asked to replace; the place must exist.
Status CheckOutput(const std::string& in, const std::string& out, Replace replace);

// Calls `write` with an empty folder beside `out` and puts it into place when that succeeded; what
// stood there goes then. No message names the temporary folder.
Result<ConvertReport> WriteFolderInPlace(
    const std::string& out,
    const std::function<Result<ConvertReport>(const std::filesystem::path&)>& write);

}  // namespace npumoe::cli
