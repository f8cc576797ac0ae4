#include "cli/usage_message.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

namespace npumoe::cli {
namespace {

// Edits that turn a into b: letters replaced, left out, added, or swapped with a neighbour.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const size_t replaced = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

std::string OnlyOneThatBeginsWith(std::string_view word,
                                  const std::vector<std::string>& candidates) {
  std::string found;
  for (const std::string& candidate : candidates) {
    if (!candidate.starts_with(word)) continue;
    if (!found.empty()) return "";
    found = candidate;
  }
  return found;
}

// The subcommand that was being read, or the program.
const CLI::App& Selected(const CLI::App& app) {
  const auto commands = app.get_subcommands();
  return commands.empty() ? app : *commands.front();
}

std::vector<std::string> LongOptions(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// About the arguments that nothing took: first those that look like options, for a value behind a
// mistyped one is left over, too.
std::string AboutExtras(const CLI::App& command) {
  std::string text;
  const std::vector<std::string> known = LongOptions(command);
  for (const std::string& argument : command.remaining()) {
    if (argument.size() < 2 || argument.front() != '-') continue;
    const std::string name = argument.substr(0, argument.find('='));
    const std::string near = NearestWord(name, known);
    text += fmt::format("npumoe: error: there is no option {}{}\n", name,
                        near.empty() ? "" : fmt::format("; did you mean {}?", near));
  }
  if (!text.empty()) return text;
  for (const std::string& argument : command.remaining()) {
    text += fmt::format("npumoe: error: '{}' is one argument too many\n", argument);
  }
  return text;
}

}  // namespace

std::string NearestWord(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr size_t kLongest = 64;  // chosen: no name here is as long, and the table is quadratic
  if (word.size() > kLongest) return "";
  const std::string_view letters = word.substr(std::min(word.find_first_not_of('-'), word.size()));
  size_t least = letters.size() / 3 + 1;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(word, candidate);
    if (distance >= least) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest.empty() && !letters.empty() ? OnlyOneThatBeginsWith(word, candidates) : nearest;
}

std::string UsageMessage(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = Selected(app);
  const bool is_extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
  return fmt::format(
      "{}npumoe{} --help shows what is allowed\n",
      is_extra ? AboutExtras(command) : fmt::format("npumoe: error: {}\n", error.what()),
      &command == &app ? "" : " " + command.get_name());
}

}  // namespace npumoe::cli
