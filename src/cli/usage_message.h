// What a person reads who mistyped: the option library's reason, the option that was probably
// meant, and where the help is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace npumoe::cli {

// The candidate nearest to `word`; empty where none is near. Near: at most one letter in three is
// wrong, left out, added, or swapped with its neighbour; or `word` begins exactly one candidate.
std::string NearestWord(std::string_view word, const std::vector<std::string>& candidates);

// Lines for stderr.
std::string UsageMessage(const CLI::App& app, const CLI::ParseError& error);

}  // namespace npumoe::cli
