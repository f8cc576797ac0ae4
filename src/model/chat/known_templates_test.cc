// Published templates are recognised however they are laid out; one that differs in what it does is
// not, however little.
#include "model/chat/known_templates.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "model/chat_template.h"

namespace npumoe {
namespace {

struct Published {
  std::string name, format, text;
};

std::vector<Published> ReadPublished() {
  std::ifstream file(std::string(NPUMOE_SOURCE_DIR) + "/tests/data/tokenizer/templates.jsonl");
  std::vector<Published> all;
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    all.push_back({json.at("template"), json.at("format"), json.at("text")});
  }
  return all;
}

TEST(KnownTemplates, EveryPublishedOneIsRecognisedAsItsFormat) {
  size_t count = 0;
  for (const Published& published : ReadPublished()) {
    const auto found = ChatTemplate::Recognise(published.text);
    ASSERT_TRUE(found.ok()) << published.name << " has the fingerprint "
                            << FingerprintOfTemplate(published.text);
    EXPECT_EQ(found->name(), published.format) << published.name;
    ++count;
  }
  EXPECT_EQ(count, 26u);
}

TEST(KnownTemplates, EveryOneThatIsListedHasItsTextHere) {
  std::set<std::string> hashes;
  for (const Published& published : ReadPublished()) {
    hashes.insert(FingerprintOfTemplate(published.text));
  }
  for (const KnownTemplate& known : KnownTemplates()) {
    EXPECT_TRUE(hashes.contains(std::string(known.hash))) << known.hash << " of " << known.source;
    EXPECT_FALSE(known.source.empty()) << known.hash;
  }
  EXPECT_EQ(hashes.size(), KnownTemplates().size());
}

TEST(KnownTemplates, EveryFormatHasOne) {
  std::set<std::string> formats;
  for (const KnownTemplate& known : KnownTemplates()) formats.emplace(known.format);
  const std::string names = ChatTemplate::KnownNames();
  EXPECT_EQ(formats.size(), static_cast<size_t>(std::ranges::count(names, ',')) + 1) << names;
}

std::string Replaced(const std::string& text, const std::string& from, const std::string& to) {
  std::string changed;
  size_t done = 0;
  for (size_t at; (at = text.find(from, done)) != text.npos; done = at + from.size()) {
    changed += text.substr(done, at - done) + to;
  }
  return changed + text.substr(done);
}

std::string Swapped(const std::string& text, const std::string& a, const std::string& b) {
  return Replaced(Replaced(Replaced(text, a, "\x01"), b, a), "\x01", b);
}

std::string Matched(const std::string& text, const char* pattern, const char* to) {
  return std::regex_replace(text, std::regex(pattern), to);
}

struct Change {
  const char* what;
  std::function<std::string(const std::string&)> apply;
};

const std::vector<Change>& Layouts() {
  static const std::vector<Change> changes = {
      {"a comment at the end", [](const std::string& t) { return t + "{# made by hand #}"; }},
      {"a comment at the beginning", [](const std::string& t) { return "{#- licence -#}\n" + t; }},
      {"a line end at the end",
       [](const std::string& t) { return t.ends_with('\n') ? t : t + "\n"; }},
      {"marks that strip at the end",
       [](const std::string& t) {
         return t.ends_with("-%}") || !t.ends_with("%}") ? t : t.substr(0, t.size() - 2) + "-%}";
       }},
      {"line ends of Windows",
       [](const std::string& t) { return Replaced(Replaced(t, "\r\n", "\n"), "\n", "\r\n"); }},
      {"spaces inside of tags",
       [](const std::string& t) { return Matched(t, R"((message|messages)\[)", "$1 ["); }},
      {"line ends inside of tags",
       [](const std::string& t) { return Replaced(t, "{% if ", "{% if\n      "); }},
      {"other quotes",
       [](const std::string& t) { return Matched(t, R"(\['(\w+)'\])", "[\"$1\"]"); }},
  };
  return changes;
}

TEST(KnownTemplates, LayoutMakesNoDifference) {
  for (const Published& published : ReadPublished()) {
    const std::string hash = FingerprintOfTemplate(published.text);
    for (const Change& change : Layouts()) {
      EXPECT_EQ(FingerprintOfTemplate(change.apply(published.text)), hash)
          << published.name << ": " << change.what;
    }
  }
}

// What somebody may have changed in a copy; each changes what some conversations render as.
const std::vector<Change>& Mutations() {
  static const std::vector<Change> changes = {
      {"swapped roles", [](const std::string& t) { return Swapped(t, "user", "assistant"); }},
      {"trimmed contents",
       [](const std::string& t) {
         return Matched(t, R"(((message|messages\[0\])(\.content|\['content'\]))( |\)))",
                        "$1|trim$4");
       }},
      {"the last message only",
       [](const std::string& t) {
         return Matched(t, R"(in (loop_)?messages )", "in $1messages[-1:] ");
       }},
      {"the loop turned round",
       [](const std::string& t) {
         return Matched(t, R"(in (loop_)?messages )", "in $1messages|reverse ");
       }},
      {"another system message",
       [](const std::string& t) { return Replaced(t, "helpful", "truthful"); }},
      {"a text of its own", [](const std::string& t) { return "{{ 'Be brief.' }}" + t; }},
      {"text outside of tags", [](const std::string& t) { return t + "Sure:"; }},
      {"a space at the end", [](const std::string& t) { return t + "{{ ' ' }}"; }},
      {"no generation prompt",
       [](const std::string& t) {
         return Replaced(t, "if add_generation_prompt", "if not add_generation_prompt");
       }},
      {"turned conditions", [](const std::string& t) { return Replaced(t, " == ", " != "); }},
      {"another role", [](const std::string& t) { return Replaced(t, "'user'", "'human'"); }},
      {"a line end less", [](const std::string& t) { return Matched(t, R"(\\n'|\n')", "'"); }},
      {"a space more in a literal",
       [](const std::string& t) { return Matched(t, R"((\w)(\|>|\]))", "$1 $2"); }},
      {"contents in capitals",
       [](const std::string& t) {
         return Matched(t, R"((\.content|\['content'\]) )", "$1|upper ");
       }},
      {"contents left out",
       [](const std::string& t) {
         return Matched(t, R"( \+ message(\.content|\['content'\]))", "");
       }},
      {"the other end of texts",
       [](const std::string& t) { return Swapped(t, "bos_token", "eos_token"); }},
      {"a condition for ever",
       [](const std::string& t) { return Matched(t, "if [^%]* %\\}", "if true %}"); }},
      {"nothing behind the first tag",
       [](const std::string& t) { return t.substr(0, t.find("%}") + 2); }},
      {"a filter behind all",
       [](const std::string& t) { return "{% filter upper %}" + t + "{% endfilter %}"; }},
      {"a tag that does not end", [](const std::string& t) { return t + "{{ messages"; }},
  };
  return changes;
}

TEST(KnownTemplates, AnyChangeOfWhatATemplateDoesMakesItUnknown) {
  for (const Published& published : ReadPublished()) {
    size_t kinds = 0;
    for (const Change& change : Mutations()) {
      const std::string mutant = change.apply(published.text);
      if (mutant == published.text) continue;  // there is nothing of the kind in this one
      ++kinds;
      const auto found = ChatTemplate::Recognise(mutant);
      ASSERT_FALSE(found.ok()) << published.name << ": " << change.what << "\n" << mutant;
      EXPECT_NE(found.status().message().find("--chat-template NAME"), std::string::npos);
      EXPECT_NE(found.status().message().find(ChatTemplate::KnownNames()), std::string::npos);
    }
    EXPECT_GE(kinds, 10u) << published.name;
  }
}

// Some copies of gpt-oss's make the model skip its reasoning.
TEST(KnownTemplates, ATemplateThatSkipsTheReasoningOfGptOssIsUnknown) {
  for (const Published& published : ReadPublished()) {
    if (published.format != "gpt-oss") continue;
    const std::string reply = "<|start|>assistant";
    const size_t at = published.text.rfind(reply);
    ASSERT_NE(at, std::string::npos);
    std::string changed = published.text;
    changed.insert(at + reply.size(), "<|channel|>final<|message|>");
    EXPECT_FALSE(ChatTemplate::Recognise(changed).ok());
  }
}

}  // namespace
}  // namespace npumoe
