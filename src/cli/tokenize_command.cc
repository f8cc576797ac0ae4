// npumoe tokenize: text to ids and back; --jsonl is the form that comparisons with other
// tokenizers use.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/json.h"
#include "cli/command.h"
#include "model/gguf/gguf_model.h"
#include "model/tokenizer.h"

namespace npumoe::cli {
namespace {

struct Options {
  std::string model;
  std::string text;
  bool jsonl = false;
  bool json = false;
};

struct Tokenized {
  std::vector<int32_t> ids;
  std::string decoded;
};

Result<Tokenized> Tokenize(const Tokenizer& tokenizer, const std::string& text) {
  Tokenized result;
  NPUMOE_ASSIGN_OR_RETURN(result.ids, tokenizer.Encode(text, SpecialTokens::kParse));
  NPUMOE_ASSIGN_OR_RETURN(result.decoded, tokenizer.Decode(result.ids, DecodeSpecial::kKeep));
  return result;
}

std::string ToJson(const Tokenized& tokenized) {
  return nlohmann::ordered_json{{"ids", tokenized.ids}, {"decoded", tokenized.decoded}}.dump();
}

Status TokenizeLines(const Tokenizer& tokenizer) {
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    const std::string name = fmt::format("standard input, line {}", number);
    NPUMOE_ASSIGN_OR_RETURN(const Json json, ParseJson(line, name));
    NPUMOE_ASSIGN_OR_RETURN(const JsonObject object, JsonObject::From(json, name));
    NPUMOE_ASSIGN_OR_RETURN(const std::string text, object.String("text"));
    Result<Tokenized> tokenized = Tokenize(tokenizer, text);
    if (!tokenized.ok()) return tokenized.status().WithContext(name);
    fmt::print("{}\n", ToJson(*tokenized));
  }
  return OkStatus();
}

Status TokenizeOne(const Tokenizer& tokenizer, const Options& options) {
  NPUMOE_ASSIGN_OR_RETURN(const Tokenized tokenized, Tokenize(tokenizer, options.text));
  if (options.json) {
    fmt::print("{}\n", ToJson(tokenized));
    return OkStatus();
  }
  for (const int32_t id : tokenized.ids) {
    NPUMOE_ASSIGN_OR_RETURN(const std::string text,
                            tokenizer.Decode(std::span(&id, 1), DecodeSpecial::kKeep));
    fmt::print("{:>8}  {}\n", id, nlohmann::json(text).dump());
  }
  return OkStatus();
}

// A folder's, a file's of its own, or a GGUF's (with or without a model in it).
Result<std::shared_ptr<const Tokenizer>> LoadTokenizer(const std::string& path) {
  NPUMOE_ASSIGN_OR_RETURN(const std::filesystem::path gguf, GgufOf(path));
  if (gguf.empty()) return Tokenizer::Load(path);
  NPUMOE_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(gguf));
  NPUMOE_ASSIGN_OR_RETURN(auto tokenizer, LoadGgufTokenizer(file.metadata()));
  if (tokenizer != nullptr) return tokenizer;
  return NotFound(gguf.string() + ": has no tokenizer; use a GGUF with one, or a tokenizer.json");
}

Status RunTokenize(const Options& options) {
  NPUMOE_ASSIGN_OR_RETURN(const auto tokenizer, LoadTokenizer(options.model));
  if (options.jsonl) return TokenizeLines(*tokenizer);
  if (options.text.empty()) return UsageError("tokenize needs a text, or --jsonl for lines");
  return TokenizeOne(*tokenizer, options);
}

}  // namespace

void AddTokenizeCommand(CLI::App& app, CommandBody& selected) {
  CLI::App* command = app.add_subcommand("tokenize", "Show how a model's tokenizer cuts a text");
  auto options = std::make_shared<Options>();
  command
      ->add_option("model,-m,--model", options->model, "Model folder, GGUF file or tokenizer.json")
      ->required();
  auto* text = command->add_option("text", options->text, "Text (one line per token is printed)");
  command
      ->add_flag("--jsonl", options->jsonl,
                 "Lines {\"text\": ...} on stdin, lines {\"ids\": [...], \"decoded\": ...} out; "
                 "special tokens parsed, none added")
      ->excludes(text);
  command->add_flag("--json", options->json, "Machine-readable output");
  command->footer(
      "Example:\n  npumoe tokenize models/demo \"Hello world\"\n"
      "  echo '{\"text\": \"Hello\"}' | npumoe tokenize models/demo --jsonl");
  command->callback(
      [options, &selected] { selected = [options] { return RunTokenize(*options); }; });
}

}  // namespace npumoe::cli
